// this one first: it decides what ssh2 finds when it is loaded
export { isNative, refused } from "./binding.ts"

export { default } from "ssh2"
