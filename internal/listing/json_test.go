package listing

import (
	"encoding/json"
	"testing"
)

// A string is what encoding/json makes of it, whatever is in it.
func FuzzAppendString(f *testing.F) {
	for _, text := range []string{"", "sha256:0a", "a b~", `"`, `\`, "<", ">", "&", "\x00", "\x1f", "\x7f", "ä", "\u2028", "\xff"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		want, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := appendString(nil, text); string(got) != string(want) {
			t.Errorf("%q: %s, expected %s", text, got, want)
		}
	})
}
