package collection

import (
	"encoding/binary"
	"hash/fnv"

	"github.com/opencontainers/go-digest"
)

// Key stands for what a run may remove. Two things that have the same key by chance are
// only ever spared together.
type Key uint64

// LinkKey is the key of a manifest or blob in a repository.
func LinkKey(repository string, d digest.Digest) Key { return keyOf(repository, string(d)) }

// TagKey is the key of a tag. No digest looks like a tag.
func TagKey(repository, tag string) Key { return keyOf(repository, tag) }

// BlobKey is the key of the bytes of a manifest or blob.
func BlobKey(d digest.Digest) Key { return keyOf("", string(d)) }

func keyOf(repository, name string) Key {
	h := fnv.New64a()
	_, _ = h.Write([]byte(repository)) // hashes never fail
	_, _ = h.Write([]byte{0})
	_, _ = h.Write([]byte(name))
	return Key(h.Sum64())
}

// keySize is the length of an encoded key in bytes.
const keySize = 8

func appendKeys(b []byte, keys []Key) []byte {
	for _, k := range keys {
		b = binary.BigEndian.AppendUint64(b, uint64(k))
	}
	return b
}

// decodeKeys reads keys back. Bytes that are not a whole key are left out.
func decodeKeys(b []byte) (keys []Key) {
	for ; len(b) >= keySize; b = b[keySize:] {
		keys = append(keys, Key(binary.BigEndian.Uint64(b)))
	}
	return keys
}
