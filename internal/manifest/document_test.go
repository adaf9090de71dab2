package manifest

import (
	"bytes"
	"encoding/json"
	"testing"
)

// The members of a document are those that encoding/json finds, and a document is
// refused where that finds no object.
func FuzzDecode(f *testing.F) {
	for _, text := range []string{
		`{}`, ` { } `, `{"a":1}`, `{"a":{"b":[1,"}",{}]},"c":"\"," , "a" : null }`, `{"":"","\u0061":[]}`, `{"a":1}x`, `{"a":1,}`, `[]`, `7`, `null`, ``, `{`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		var want map[string]json.RawMessage
		err := json.Unmarshal(content, &want)
		got, decodeErr := decode(content)
		if refused := err != nil || want == nil; refused != (decodeErr != nil) {
			t.Fatalf("%q: %v, but for encoding/json: %v", content, decodeErr, err)
		} else if refused {
			return
		}
		if len(got.members) != len(want) {
			t.Fatalf("%q: %d members, not %d", content, len(got.members), len(want))
		}
		for name, value := range want {
			if !bytes.Equal(got.members[name], bytes.TrimSpace(value)) {
				t.Errorf("%q: %q is %q, not %q", content, name, got.members[name], value)
			}
		}
	})
}

func BenchmarkParseSubject(b *testing.B) {
	content := []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"application/vnd.example",` +
		`"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},` +
		`"layers":[{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}],` +
		`"subject":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":500},` +
		`"annotations":{"org.opencontainers.image.created":"2024-01-01T00:00:00Z","org.example.key":"key-1"}}`)
	b.ReportAllocs()
	for b.Loop() {
		if subject, problems := ParseSubject(content); subject == nil || problems != nil {
			b.Fatal(problems)
		}
	}
}
