/** Our client with grpc-js's server. */
import { hugeCase, largeCases, smallCases } from "./cases.ts"
import { describeCases } from "./describeCases.ts"
import { byteByByte, inSmallPieces, paths } from "./paths.ts"

describeCases("hawser to grpc-js", paths)
describeCases("hawser to grpc-js", byteByByte, smallCases)
describeCases("hawser to grpc-js", inSmallPieces, largeCases)
describeCases("hawser to grpc-js", { directly: paths.directly }, [hugeCase])
