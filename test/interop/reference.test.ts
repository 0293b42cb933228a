/** grpc-js with itself: that the cases and the paths are as they should be, whatever becomes of ours. */
import { describeCases } from "./describeCases.ts"
import { paths } from "./paths.ts"

describeCases("grpc-js to grpc-js", paths)
