/** Our client with our server. */
import { hugeCase, largeCases, smallCases } from "./cases.ts"
import { describeCases } from "./describeCases.ts"
import { byteByByte, inSmallPieces, paths } from "./paths.ts"

describeCases("hawser to hawser", paths)
describeCases("hawser to hawser", byteByByte, smallCases)
describeCases("hawser to hawser", inSmallPieces, largeCases)
describeCases("hawser to hawser", { directly: paths.directly }, [hugeCase])
