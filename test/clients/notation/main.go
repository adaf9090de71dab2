// Command notation signs manifests in a registry and verifies the signatures, with the
// library that notation itself is built on: the Go module proxy has the library but not
// the command. It speaks plain HTTP, and is for tests only.
//
//	notation generate FOLDER                make a key and a self-signed certificate
//	notation sign FOLDER REFERENCE          sign with that key
//	notation sign-tagged FOLDER REFERENCE   sign with that key and write a fallback tag
//	notation list REFERENCE                 print the digests of the signatures
//	notation verify FOLDER REFERENCE        trust that certificate alone
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	_ "github.com/notaryproject/notation-core-go/signature/cose"
	"github.com/notaryproject/notation-core-go/signature/jws"
	"github.com/notaryproject/notation-go"
	"github.com/notaryproject/notation-go/dir"
	notationregistry "github.com/notaryproject/notation-go/registry"
	"github.com/notaryproject/notation-go/signer"
	"github.com/notaryproject/notation-go/verifier"
	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	"github.com/notaryproject/notation-go/verifier/truststore"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"
)

// storeName is the name of the trust store in the folder of the key.
const storeName = "tests"

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "notation:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	switch {
	case len(args) == 2 && args[0] == "generate":
		return generate(keyPath(args[1]), certificatePath(args[1]))
	case len(args) == 3 && args[0] == "sign":
		return sign(ctx, args[1], args[2], false)
	case len(args) == 3 && args[0] == "sign-tagged":
		return sign(ctx, args[1], args[2], true)
	case len(args) == 2 && args[0] == "list":
		return list(ctx, args[1])
	case len(args) == 3 && args[0] == "verify":
		return verify(ctx, args[1], args[2])
	default:
		return fmt.Errorf("arguments %q: expected generate, sign, sign-tagged, list or verify", args)
	}
}

func keyPath(folder string) string { return filepath.Join(folder, "key.pem") }

func certificatePath(folder string) string {
	return filepath.Join(folder, "truststore", "x509", "ca", storeName, "certificate.pem")
}

func repository(reference string) (*remote.Repository, error) {
	repository, err := remote.NewRepository(reference)
	if err != nil {
		return nil, err
	}
	repository.PlainHTTP = true
	return repository, nil
}

// sign signs a manifest. With forceTag it does what --force-referrers-tag does: it tells
// the library that the registry has no referrers API.
func sign(ctx context.Context, folder, reference string, forceTag bool) error {
	repository, err := repository(reference)
	if err != nil {
		return err
	}
	if forceTag {
		if err := repository.SetReferrersCapability(false); err != nil {
			return err
		}
	}
	key, err := signer.NewGenericSignerFromFiles(keyPath(folder), certificatePath(folder))
	if err != nil {
		return err
	}
	_, err = notation.Sign(ctx, key, notationregistry.NewRepository(repository), notation.SignOptions{
		SignerSignOptions: notation.SignerSignOptions{SignatureMediaType: jws.MediaTypeEnvelope},
		ArtifactReference: reference,
	})
	return err
}

func list(ctx context.Context, reference string) error {
	repository, err := repository(reference)
	if err != nil {
		return err
	}
	subject, err := repository.Resolve(ctx, reference)
	if err != nil {
		return err
	}
	return notationregistry.NewRepository(repository).ListSignatures(ctx, subject, func(signatures []ocispec.Descriptor) error {
		for _, signature := range signatures {
			if _, err := fmt.Fprintln(os.Stdout, signature.Digest); err != nil {
				return err
			}
		}
		return nil
	})
}

func verify(ctx context.Context, folder, reference string) error {
	repository, err := repository(reference)
	if err != nil {
		return err
	}
	policy := &trustpolicy.Document{Version: "1.0", TrustPolicies: []trustpolicy.TrustPolicy{{
		Name:                  storeName,
		RegistryScopes:        []string{"*"},
		SignatureVerification: trustpolicy.SignatureVerification{VerificationLevel: trustpolicy.LevelStrict.Name},
		TrustStores:           []string{"ca:" + storeName},
		TrustedIdentities:     []string{"*"},
	}}}
	trust, err := verifier.New(policy, truststore.NewX509TrustStore(dir.NewSysFS(folder)), nil)
	if err != nil {
		return err
	}
	_, _, err = notation.Verify(ctx, trust, notationregistry.NewRepository(repository), notation.VerifyOptions{
		ArtifactReference:    reference,
		MaxSignatureAttempts: 50,
	})
	return err
}
