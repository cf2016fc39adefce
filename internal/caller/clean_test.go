package caller

import (
	"slices"
	"strings"
	"testing"
)

const (
	org   = "0c1f6f4e-93b0-4c8a-9d0a-7b1de0c1a2b3"
	token = "AKgYsUq5v0x/Hy3l+Zt9oPq2Wc7dRf4uBn6mXe8sTi0="
)

// exists is a folder in which two secrets are names of files.
func exists(name string) bool {
	return slices.Contains([]string{"geheim", "1234", "f", "f.sig", "a b.rpm", "é.rpm", "a.jar", "dist/a", "-x.txt", "/m.so", "/usr/bin/jarsigner"}, name)
}

func TestCommandLinesShowProgramOptionsAndFiles(t *testing.T) {
	for args, want := range map[string]string{ // separated by |
		"openssl|dgst|-engine|pkcs11|-sign|pkcs11:id=demo/rsa;pin-value=x|-sha256|-out|f.sig|f":  "openssl [...] -engine [...] -sign [...] -sha256 -out f.sig [...]",
		"/usr/bin/jarsigner|-keystore|NONE|-storepass|CONFIG|-signedjar|b.jar|a.jar|demo/rsa":    "/usr/bin/jarsigner -keystore [...] -storepass [...] -signedjar [...] a.jar [...]",
		"pkcs11-tool|--module|/m.so|--login|--pin|1234|-m|ECDSA|--input-file|dist/a|--slot=1":    "pkcs11-tool --module /m.so --login --pin [...] -m [...] --input-file dist/a --slot=[...]",
		"tool|--module=/m.so|--pin=f.sig|--unknown=/m.so|-x=/m.so|-|--|-x.txt|-x.tx|https://h/f": "tool --module=/m.so --pin=f.sig [...] -x=/m.so - -- -x.txt [...] [...]",
		"rpmsign|--define|_gpg_name x|--addsign|a b.rpm||é.rpm|\x1b[31m":                         `rpmsign [...] [...] [...] "a b.rpm" [...] é.rpm [...]`,
		"/opt/gone/tool-1.2+3_x|--yes": "/opt/gone/tool-1.2+3_x --yes",
		"-bash":                        "-bash",
		"sshd: me@pts/0":               "[...]",
		"|f.sig":                       "[...] f.sig",
	} {
		if got := cleanCommandLine(strings.Split(args, "|"), exists); got != want {
			t.Errorf("%s\n got %s\nwant %s", args, got, want)
		}
	}
	if got := cleanCommandLine(nil, exists); got != "" {
		t.Errorf("no arguments: got %q", got)
	}
}

func TestCommandLinesShowNoSecret(t *testing.T) {
	for _, args := range []string{ // separated by |
		// the form of an option, and of a file in the working folder
		"tool|--pin|--geheim|-geheim|-g|--pin=-geheim|--geheim=x",
		"tool|--pin|1234|--pin=1234|geheim",
		"tool --pin geheim|-x",
		// OpenSSL: engine, provider, pass phrase sources
		"openssl|dgst|-engine|pkcs11|-keyform|engine|-sign|pkcs11:id=demo/rsa-2048;type=private;pin-value=CONFIG|-sha256|-out|f.sig|f",
		"openssl|pkeyutl|-inkey|pkcs11:id=demo%2Frsa;type=private?pin-value=" + org + ":" + token,
		"openssl|pkeyutl|-inkey|pkcs11:pin-value=" + token + ";id=x?module-path=/m.so&pin-value=geheim?x&module-name=m",
		"openssl|cms|-inkey|pkcs11:pin-value=" + org + "%3AAKgY%2Fgeheim%3D;type=private",
		"openssl|cms|-inkey|pkcs11:pin-value=geh;eim&geheim'geheim?geheim",
		"openssl|rsa|-passin|pass:geheim|-passout|env:X",
		"openssl|enc|-k|geheim|-K|67656865696d|-keyform|PEM",
		"openssl|dgst|-mac|hmac|-macopt|hexkey:geheim",
		"openssl|engine|pkcs11|-pre|PIN:geheim",
		// osslsigncode
		"osslsigncode|sign|-pkcs11module|/m.so|-key|pkcs11:id=a/b;pin-value=" + token + "|-pass|geheim|-in|a.exe",
		"osslsigncode|sign|-pass|-geheim|-readpass|/file",
		// Java
		"/usr/bin/jarsigner|-keystore|NONE|-storetype|PKCS11|-storepass|" + org + ":" + token + "|-keypass|geheim|a.jar|demo/rsa",
		"java|-Djavax.net.ssl.keyStorePassword=geheim|-J-Dx.trustStorePassword=geheim|-jar|jsign.jar|--storepass|geheim",
		"java|-Dpin=geheim|-DPIN=geheim|-Dpwd=geheim|-Dapi.key=geheim|-DAPI_KEY=geheim|-DsecretKey=geheim|-J-Dpin=geheim|-Ddepth=1",
		"gradle|publish|-Ppin=geheim|-Pcreds=geheim|-Pversion=1|-Password=geheim",
		"tool|--auth|geheim|--credential=geheim|--_auth=geheim",
		"pkcs11-tool|--pi|geheim|--so-pi=geheim",
		"curl|https://h/f?x=1&sig=geheim&X-Amz-Signature=geheim",
		"mvn|install|-Dgpg.passphrase=geheim|-Dgpg.keyname=me",
		// PKCS#11 tools
		"pkcs11-tool|--module|/m.so|--login|--pin|" + token + "|--label|demo/rsa|--sign",
		"pkcs11-tool|--pin=geheim|--so-pin|geheim|--new-pin|geheim",
		"pkcs11-tool|-l|-p|geheim|-O",
		"pkcs11-tool|-pgeheim|-lp|geheim|-lOpgeheim",
		"sudo|/usr/bin/pkcs11-tool|-p|geheim",
		"pkcs11-tool|--init-token|--token-label|name|--change-pin|--pin|geheim",
		"p11tool|--login|--set-pin=geheim|--set-so-pin=geheim|pkcs11:token=name;pin-value=geheim",
		"softhsm2-util|--so-pin|geheim|--pin|geheim|--free",
		"yubico-piv-tool|-a|verify-pin|-Pgeheim",
		// cosign
		"cosign|sign|--key|pkcs11:token=signkit;slot-id=1;id=a;object=b?module-path=/m.so&pin-value=" + org + "%3a" + token + "|image",
		"cosign|sign|--key=pkcs11:id=a?pin-value=geheim|--identity-token=geheim|--registry-password|geheim",
		// the vendor's scripts
		"pwsh|Run.ps1|-OrganizationId|" + org + "|-ApiToken|" + token + "|-APITOKEN:geheim|-apitoken|geheim|-ProjectSlug|demo",
		"run|--api-token|geheim|--CIUserToken|geheim",
		// anywhere
		"tool|" + org + ":" + token,
		"tool|--x=" + strings.ToUpper(org) + ":" + token,
		"tool|x" + org + "%3A" + token + "y",
		// variables
		"env|SIGNPATH_API_TOKEN=" + token + "|SIGNPATH_CI_USER_TOKEN=geheim|SIGNPATH_API_TOKEN_FILE=/run/t|PIN=geheim|gpg|x",
		"docker|run|-e|COSIGN_PASSWORD=geheim|--env=API_KEY=geheim|-eTOKEN=geheim",
		// curl
		"curl|-H|Authorization: Bearer " + token + "|https://sign.example/Api",
		"curl|-HAuthorization: Bearer geheim",
		"curl|--header=authorization: basic geheim|-H|PRIVATE-TOKEN: geheim",
		"curl|-u|me:geheim|-sSu|me:geheim|--proxy-user|x|--oauth2-bearer|geheim",
		"curl|https://me:geheim@host/x?a=b&access_token=geheim&c=d",
		// scripts in one argument
		"sh|-c|openssl dgst -sign \"pkcs11:id=a;pin-value=geheim\" f && pkcs11-tool --login --pin 'geh eim' -O; echo done",
		"bash|-c|curl -H 'Authorization: Bearer geheim' https://x -u me:geheim",
		"bash|-c|curl -H Authorization: Bearer geheim x",
		"bash|-c|SIGNPATH_API_TOKEN=geheim two words",
		"bash|-c|exec env SIGNPATH_API_TOKEN=geheim sh -c \"pkcs11-tool -p 'geh eim' -O\"",
		"bash|-c|x --pin \"geheim geheim",
		"bash|-c|x\n--pin geheim",
		"curl|--user|me:geheim|--proxy-user=me:geheim|https://x",
		"ssh-keygen|-t|rsa|-N|geheim|-Pgeheim|-f|x",
		"openssl|dgst|-mac|hmac|-macopt|key:geheim|-sha256|f",
		// JSON, programs
		`curl|-d|{"user":"me","api_token":"geheim","n":1}`,
		`curl|--data={"token": "ge\"heim", "n": 1}`,
		`curl|-d|{"pin":67656865696d}`,
		`bash|-c|curl -d "{\"token\": \"geheim\"}" x`,
		`python3|-c|import os; os.environ["SIGNPATH_API_TOKEN"] = "geheim"; run('x')`,
		`python3|-c|run(["pkcs11-tool","--pin","geheim","-O"])`,
		`node|-e|x({'password': 'geheim', a: 'b'})`,
		`bash|-c|x '"token":"geheim`,
	} {
		got := cleanCommandLine(strings.Split(args, "|"), exists)
		for _, secret := range []string{"geh", "eim", "1234", token, token[:8], "AKgY", "67656865"} {
			if strings.Contains(got, secret) {
				t.Errorf("%s\nshows %q: %s", args, secret, got)
			}
		}
	}
}

func TestALongCommandLineEndsEarly(t *testing.T) {
	for _, arg := range []string{"/no/file", "/m.so", "--module=/m.so", "-x"} {
		asked := 0
		line := cleanCommandLine(append([]string{"tool"}, slices.Repeat([]string{arg}, 100_000)...), func(name string) bool {
			asked++
			return exists(name)
		})
		if asked > 1000 || len(line) <= longestLine || len(line) > longestLine+100 {
			t.Errorf("%s: %d files looked for, for %d bytes", arg, asked, len(line))
		}
	}
}

// FuzzCleanCommandLine: whatever stands around it, in whatever form, a secret is never shown.
func FuzzCleanCommandLine(f *testing.F) {
	f.Add("openssl dgst", "pkcs11:id=a?x=y")
	f.Add("sh -c 'a \"b", "-p -k --token")
	f.Add("curl -H Authorization:", "\\")
	f.Add("--pin", "--pin=/m.so")
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "Zq7" + "geheim" + "Xw9"
		got := cleanCommandLine([]string{before, "--pin", secret, before + secret, before + "=" + secret, secret + after, "-" + secret, after}, exists)
		if strings.Contains(got, secret) && !strings.Contains(before+after, secret) {
			t.Errorf("the PIN is shown: %s", got)
		}
	})
}
