/** Equality of types, for tests that the compiler alone checks. */

/** `true` where two types are the same to the compiler. */
export type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false

/** Does not compile unless the type is `true`. */
export const proven = <_Proof extends true>(): void => {}
