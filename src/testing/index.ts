/**
 * What programs that use this library are tested with: a network in memory, and certificates made on the spot.
 *
 * @since 0.1.0
 */

/** What goes wrong on a test network. */
export * as NetworkRule from "./NetworkRule.ts"

/** Certificate authorities and certificates, made in memory. */
export * as TestCertificates from "./TestCertificates.ts"

/** A network in memory that gives both Dialer and Listener. */
export * as TestNetwork from "./TestNetwork.ts"

/** Peers for a program's clients: an echo server, proxies, and more. */
export * as TestPeers from "./TestPeers.ts"
