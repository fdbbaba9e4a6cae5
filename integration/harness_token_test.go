package integration

import (
	"crypto/rand"
	"encoding/hex"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// claims are the changes to the claims of a standard token; nil takes one away.
type claims map[string]any

// admin is the change that makes a token an administrator's.
var admin = claims{"role": "admin"}

// token signs a token of the tenant that lives for an hour.
func token(t testing.TB, x tenant, changes ...claims) string {
	t.Helper()
	var id [8]byte
	_, _ = rand.Read(id[:])
	all := jwt.MapClaims{
		"tenant_id": x.id, "sub": "somebody", "jti": hex.EncodeToString(id[:]),
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}
	for _, c := range changes {
		for name, value := range c {
			if value == nil {
				delete(all, name)
			} else {
				all[name] = value
			}
		}
	}
	s, err := jwt.NewWithClaims(jwt.SigningMethodHS256, all).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return s
}
