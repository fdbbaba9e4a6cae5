package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// client is one connection of ours that can be held by the thousand: a socket
// and no buffers.
type client struct{ conn net.Conn }

// clientTimeout bounds a login and a query.
const clientTimeout = 60 * time.Second

var (
	errNoTLS = errors.New("the proxy refuses TLS")
	errAsked = errors.New("the proxy asks for something else than a clear-text password")
)

// login connects and logs in; with a config it uses TLS.
func login(e *endpoint, password string, encryption *tls.Config) (*client, error) {
	conn, err := net.DialTimeout("tcp", e.address(), clientTimeout)
	if err != nil {
		return nil, err
	}
	c := &client{conn}
	err = conn.SetDeadline(time.Now().Add(clientTimeout))
	if err == nil && encryption != nil {
		err = c.startTLS(encryption)
	}
	if err == nil {
		err = c.authenticate(e.database, password)
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return c, nil
}

// startTLS asks for TLS and shakes hands ("SSL Session Encryption").
func (c *client) startTLS(config *tls.Config) error {
	if _, err := c.conn.Write([]byte{0, 0, 0, 8, 4, 210, 22, 47}); err != nil {
		return err
	}
	var answer [1]byte
	if _, err := io.ReadFull(c.conn, answer[:]); err != nil {
		return err
	}
	if answer[0] != 'S' {
		return errNoTLS
	}
	encrypted := tls.Client(c.conn, config)
	c.conn = encrypted
	return encrypted.Handshake()
}

// authenticate sends the startup packet and the password.
func (c *client) authenticate(database, password string) error {
	startup := append([]byte{0, 0, 0, 0, 0, 3, 0, 0}, "user\x00app\x00database\x00"+database+"\x00\x00"...)
	binary.BigEndian.PutUint32(startup, uint32(len(startup)))
	if _, err := c.conn.Write(startup); err != nil {
		return err
	}
	return c.until('Z', func(typ byte, body []byte) error {
		if typ != 'R' || len(body) < 4 {
			return nil
		}
		switch binary.BigEndian.Uint32(body) {
		case 0:
			return nil
		case 3:
			_, err := c.conn.Write(message('p', password))
			return err
		}
		return errAsked
	})
}

// message builds a message of one string.
func message(typ byte, text string) []byte {
	m := append([]byte{typ, 0, 0, 0, 0}, text...)
	m = append(m, 0)
	binary.BigEndian.PutUint32(m[1:], uint32(len(m)-1))
	return m
}

// until reads up to a message of the type last; an error of the server ends it.
func (c *client) until(last byte, see func(typ byte, body []byte) error) error {
	var header [5]byte
	for {
		if _, err := io.ReadFull(c.conn, header[:]); err != nil {
			return err
		}
		body := make([]byte, binary.BigEndian.Uint32(header[1:])-4)
		if _, err := io.ReadFull(c.conn, body); err != nil {
			return err
		}
		switch header[0] {
		case 'E':
			return fmt.Errorf("the server says %q", body)
		case last:
			return nil
		}
		if see != nil {
			if err := see(header[0], body); err != nil {
				return err
			}
		}
	}
}

// query runs one statement and reads its answer.
func (c *client) query(sql string) error {
	if err := c.conn.SetDeadline(time.Now().Add(clientTimeout)); err != nil {
		return err
	}
	if _, err := c.conn.Write(message('Q', sql)); err != nil {
		return err
	}
	return c.until('Z', nil)
}

// leave says goodbye and closes.
func (c *client) leave() {
	_, _ = c.conn.Write([]byte{'X', 0, 0, 0, 4}) // it may have closed
	_ = c.conn.Close()
}

// atOnce is how many clients of a crowd log in or leave at the same time.
const atOnce = 32

// parallel runs do for the numbers below n, several at a time, and returns the
// first error.
func parallel(n int, do func(i int) error) error {
	var next atomic.Int64
	var group sync.WaitGroup
	errs := make([]error, atOnce)
	for w := range atOnce {
		group.Go(func() {
			for errs[w] == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				errs[w] = do(i)
			}
		})
	}
	group.Wait()
	return first(errs)
}

// first is the first error that is one: a crowd fails as a crowd.
func first(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// drive lets n workers do something again and again for a time, and returns how
// often it was done. do gets the number of the worker and a running number.
func drive(n int, d time.Duration, do func(worker, turn int) error) (float64, error) {
	var turns atomic.Int64
	var group sync.WaitGroup
	errs := make([]error, n)
	end := time.Now().Add(d)
	for w := range n {
		group.Go(func() {
			for errs[w] == nil && time.Now().Before(end) {
				errs[w] = do(w, int(turns.Add(1))-1)
			}
		})
	}
	group.Wait()
	return float64(turns.Load()), first(errs)
}

// certificate is the one that both proxies show.
type certificate struct {
	certPEM, keyPEM string
	trust           *tls.Config // of a client that knows it
}

// newCertificate makes a self-signed certificate for 127.0.0.1 with a P-256 key.
func newCertificate() (*certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return &certificate{
		certPEM: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		keyPEM:  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})),
		trust:   &tls.Config{RootCAs: pool, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12},
	}, nil
}
