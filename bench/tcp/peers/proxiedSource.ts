/** The source of bulk data, and a proxy in front of it. */
import { behindProxy } from "./proxy.ts"
import source from "./source.ts"

export default behindProxy(source)
