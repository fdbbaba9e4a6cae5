// Package auth decides who a client is. A [Verifier] takes the tenant token (a
// JWT, RFC 7519, in JWS compact form, RFC 7515) that a client sends as its
// password and answers with an [Identity] or with a [Refusal].
//
// An Identity can only come out of [Verifier.Verify]; its zero value stands for
// nobody and is refused wherever an Identity is asked for. The way to it:
//
//  1. the text: length, alphabet, three parts;
//  2. the header: strict JSON, one `alg`, at most one `kid`, no `crit`, no `b64`;
//  3. the keys: only those that the configuration or the JWKS binds to that
//     algorithm are tried, so the token never chooses how it is verified;
//  4. the signature;
//  5. the claims: strict JSON with exact names and no duplicates, then times,
//     issuer, audience, lifetime, tenant and user;
//  6. the revocations, which are also asked when the token comes from the cache.
//
// Verified tokens are cached by their SHA-256; the times and the revocations are
// checked at every use, and a change of keys empties the cache. No secret and no
// part of a token appears in an error or a log line of this package.
//
// Besides: [Throttle] bounds failed logins by address, [Mint] signs tokens for
// the command line, [Secret] is a string that does not print itself.
package auth
