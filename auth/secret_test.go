package auth

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestSecretNeverPrintsItself(t *testing.T) {
	type holder struct {
		Key    KeyConfig
		Secret *Secret
		List   []Secret
		Map    map[string]Secret
	}
	secret := Secret("hunter2-and-more")
	h := holder{KeyConfig{Secret: secret}, &secret, []Secret{secret}, map[string]Secret{"key": secret}}
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T %v", "%10.3s", "% x", "%#q"} {
		if strings.HasPrefix(verb, "%T") {
			fmt.Fprintf(&out, verb, secret, h)
			continue
		}
		fmt.Fprintf(&out, verb+verb+verb, secret, h, &h)
	}
	fmt.Fprint(&out, secret, h, fmt.Errorf("wrapped: %v", secret))
	text, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(text)
	if text, err = xml.Marshal(h.Key); err != nil {
		t.Fatal(err)
	}
	out.Write(text)
	yaml, err := secret.MarshalYAML()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(&out, yaml)
	var logged bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&logged, nil), slog.NewJSONHandler(&logged, nil)} {
		slog.New(handler).Info("x", "secret", secret, "pointer", &secret, "holder", h, slog.Any("list", h.List))
	}
	out.Write(logged.Bytes())
	hex := fmt.Sprintf("%x", string(secret))
	for _, trace := range []string{"hunter2", hex[:10], strings.ToUpper(hex[:10])} {
		if strings.Contains(out.String(), trace) {
			t.Fatalf("%q shows in %s", trace, &out)
		}
	}
	if n := strings.Count(out.String(), redacted); n < 30 {
		t.Errorf("redacted only %d times", n)
	}
	if secret.Reveal() != "hunter2-and-more" {
		t.Error("Reveal does not")
	}
	if text := fmt.Sprintf("%v%+v%q%#v", Secret(""), Secret(""), Secret(""), Secret("")); text != "" {
		t.Errorf("an empty secret prints %q", text)
	}
}

func TestSecretIsReadFromJSONAsAString(t *testing.T) {
	var key KeyConfig
	if err := json.Unmarshal([]byte(`{"Secret":"value"}`), &key); err != nil || key.Secret.Reveal() != "value" {
		t.Errorf("%q, %v", key.Secret.Reveal(), err)
	}
}

func TestVerifierAndSigningKeyDoNotPrintTheirKeys(t *testing.T) {
	v := verifier(t, Config{})
	key, err := LoadSigningKey(KeyConfig{Algorithm: "HS256", KeyID: "one", Secret: testSecret})
	if err != nil {
		t.Fatal(err)
	}
	id := wantAccepted(t, v, hs(t, nil))
	bytesOfSecret := strings.Trim(fmt.Sprint([]byte(testSecret[:8])), "[]")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		text := fmt.Sprintf(verb+verb+verb+verb+verb, v, v.static, key, &key, id)
		if strings.Contains(text, bytesOfSecret) || strings.Contains(text, testSecret[:8]) || strings.Contains(text, fmt.Sprintf("%x", testSecret[:8])) ||
			strings.Contains(text, "0x30, 0x31, 0x32, 0x33") {
			t.Errorf("%s shows the secret: %s", verb, text)
		}
	}
	if got := key.LogValue().String(); got != `signing key HS256 "one"` {
		t.Error(got)
	}
}
