/** grpc-js's client with our server. */
import { hugeCase, largeCases, smallCases } from "./cases.ts"
import { describeCases } from "./describeCases.ts"
import { byteByByte, inSmallPieces, paths } from "./paths.ts"

describeCases("grpc-js to hawser", paths)
describeCases("grpc-js to hawser", byteByByte, smallCases)
describeCases("grpc-js to hawser", inSmallPieces, largeCases)
describeCases("grpc-js to hawser", { directly: paths.directly }, [hugeCase])
