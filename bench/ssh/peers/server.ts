/** An sshd for whoever wants to run commands. */
import { serve } from "./sshd.ts"

export default serve
