package integration

import "testing"

// servingTLS makes the proxy offer TLS with a certificate in the given mode.
func servingTLS(t testing.TB, c *certificate, mode string) option {
	return func(p *proxy) {
		cert, key := c.files(t, p.dir)
		p.set("listen/tls/mode", mode)
		p.set("listen/tls/cert_file", cert)
		p.set("listen/tls/key_file", key)
	}
}
