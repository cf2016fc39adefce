package cli

import (
	"context"
	"os"
	"path/filepath"

	gnupghome "signkit/gpgagent/home"
	"signkit/internal/artifact"
	"signkit/internal/pgpkey"
	"signkit/internal/signpath"
)

// gpgPreparation is what the GNUPGHOMEs of all hands have in common.
type gpgPreparation struct {
	bridge  string
	key     gnupghome.Key
	watcher *gnupghome.Watcher // ends the homes where this process cannot
}

// prepareOpenPGP asks for the public key of a policy, once for all hands; public is the one that the
// call names instead, or nil.
func (a *app) prepareOpenPGP(ctx context.Context, key *signpath.Key, public *pgpkey.Key) (*gpgPreparation, error) {
	if err := gnupghome.CheckPrograms(); err != nil {
		return nil, gpgHints(err)
	}
	bridge, err := a.bridge()
	if err != nil {
		return nil, err
	}
	s, err := sourceOf(key)
	if err != nil {
		return nil, err
	}
	if public == nil {
		if public, err = a.servicePublicKey(ctx, s); err != nil {
			return nil, err
		}
	}
	joined, err := a.join(s, public)
	if err != nil {
		return nil, err
	}
	return &gpgPreparation{bridge: bridge, key: joined, watcher: a.watched()}, nil
}

// openPGPHome makes a GNUPGHOME for one hand of a batch, whose agent and bridge run in the given environment. end stops
// them and removes it.
func (a *app) openPGPHome(ctx context.Context, p *gpgPreparation, environ []string) (_ *artifact.OpenPGP, end func(), err error) {
	home, err := a.makeWatchedHome(p.watcher)
	if err != nil {
		return nil, nil, err
	}
	end = func() {
		if err := home.End(context.WithoutCancel(ctx)); err != nil {
			a.ui.warning("ending gpg-agent: %v", err)
		}
	}
	if _, err := home.SetUp(ctx, gnupghome.Options{Bridge: p.bridge, Environ: environ, Keys: []gnupghome.Key{p.key}}); err != nil {
		return nil, nil, gpgHints(err) // it has cleaned up
	}
	public, err := pgpkey.Parse(p.key.Public)
	if err != nil {
		return nil, end, err
	}
	armored, err := public.Armor()
	if err != nil {
		return nil, end, err
	}
	file := filepath.Join(home.Dir, "public.asc")
	return &artifact.OpenPGP{Home: home.Dir, Fingerprint: p.key.Entry.Fingerprint, PublicKey: file}, end, os.WriteFile(file, armored, 0o600)
}
