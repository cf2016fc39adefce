package caller

import (
	"strings"
	"testing"
)

const (
	org   = "0c1f6f4e-93b0-4c8a-9d0a-7b1de0c1a2b3"
	token = "AKgYsUq5v0x/Hy3l+Zt9oPq2Wc7dRf4uBn6mXe8sTi0="
)

func TestCleanCommandLine(t *testing.T) {
	tests := []struct {
		args string // separated by |
		want string
	}{
		// OpenSSL: engine, provider, pass phrase sources
		{"openssl|dgst|-engine|pkcs11|-keyform|engine|-sign|pkcs11:id=demo/rsa-2048;type=private;pin-value=CONFIG|-sha256|-out|f.sig|f",
			"openssl dgst -engine pkcs11 -keyform engine -sign pkcs11:id=demo/rsa-2048;type=private;pin-value=[redacted] -sha256 -out f.sig f"},
		{"openssl|pkeyutl|-inkey|pkcs11:id=demo%2Frsa;type=private?pin-value=" + org + ":" + token,
			"openssl pkeyutl -inkey pkcs11:id=demo%2Frsa;type=private?pin-value=[redacted]"},
		{"openssl|pkeyutl|-inkey|pkcs11:pin-value=" + token + ";id=x?module-path=/m.so&pin-value=geheim?x&module-name=m",
			"openssl pkeyutl -inkey pkcs11:pin-value=[redacted];id=x?module-path=/m.so&pin-value=[redacted]&module-name=m"},
		{"openssl|cms|-inkey|pkcs11:pin-value=" + org + "%3AAKgY%2Fgeheim%3D;type=private",
			"openssl cms -inkey pkcs11:pin-value=[redacted];type=private"},
		{"openssl|cms|-inkey|pkcs11:pin-value=geh;eim&geheim'geheim?geheim", "openssl cms -inkey pkcs11:pin-value=[redacted]"},
		{"openssl|rsa|-passin|pass:geheim|-passout|env:X", "openssl rsa -passin [redacted] -passout [redacted]"},
		{"openssl|enc|-k|geheim|-K|67656865696d|-keyform|PEM", "openssl enc -k [redacted] -K [redacted] -keyform PEM"},
		{"openssl|dgst|-mac|hmac|-macopt|hexkey:geheim", "openssl dgst -mac hmac -macopt hexkey:[redacted]"},
		{"openssl|engine|pkcs11|-pre|PIN:geheim", "openssl engine pkcs11 -pre PIN:[redacted]"},
		// osslsigncode
		{"osslsigncode|sign|-pkcs11module|/m.so|-key|pkcs11:id=a/b;pin-value=" + token + "|-pass|geheim|-in|a.exe",
			"osslsigncode sign -pkcs11module /m.so -key pkcs11:id=a/b;pin-value=[redacted] -pass [redacted] -in a.exe"},
		{"osslsigncode|sign|-pass|-geheim|-readpass|/file", "osslsigncode sign -pass [redacted] -readpass /file"},
		// Java
		{"/usr/bin/jarsigner|-keystore|NONE|-storetype|PKCS11|-storepass|" + org + ":" + token + "|-keypass|geheim|a.jar|demo/rsa",
			"/usr/bin/jarsigner -keystore NONE -storetype PKCS11 -storepass [redacted] -keypass [redacted] a.jar demo/rsa"},
		{"jarsigner|-storepass:env|PW|-storepass:file|/f|a.jar", "jarsigner -storepass:env PW -storepass:file /f a.jar"},
		{"java|-Djavax.net.ssl.keyStorePassword=geheim|-J-Dx.trustStorePassword=geheim|-jar|jsign.jar|--storepass|geheim",
			"java -Djavax.net.ssl.keyStorePassword=[redacted] -J-Dx.trustStorePassword=[redacted] -jar jsign.jar --storepass [redacted]"},
		{"java|-Dpin=geheim|-DPIN=geheim|-Dpwd=geheim|-Dapi.key=geheim|-DAPI_KEY=geheim|-DsecretKey=geheim|-J-Dpin=geheim|-Ddepth=1",
			"java -Dpin=[redacted] -DPIN=[redacted] -Dpwd=[redacted] -Dapi.key=[redacted] -DAPI_KEY=[redacted] -DsecretKey=[redacted] -J-Dpin=[redacted] -Ddepth=1"},
		{"gradle|publish|-Ppin=geheim|-Pcreds=geheim|-Pversion=1|-Password=geheim",
			"gradle publish -Ppin=[redacted] -Pcreds=[redacted] -Pversion=1 -Password=[redacted]"},
		{"tool|--auth|geheim|--credential=geheim|--_auth=geheim", "tool --auth [redacted] --credential=[redacted] --_auth=[redacted]"},
		{"pkcs11-tool|--pi|geheim|--so-pi=geheim", "pkcs11-tool --pi [redacted] --so-pi=[redacted]"},
		{"curl|https://h/f?x=1&sig=geheim&X-Amz-Signature=geheim", "curl https://h/f?x=1&sig=[redacted]&X-Amz-Signature=[redacted]"},
		{"mvn|install|-Dgpg.passphrase=geheim|-Dgpg.keyname=me", "mvn install -Dgpg.passphrase=[redacted] -Dgpg.keyname=me"},
		// PKCS#11 tools
		{"pkcs11-tool|--module|/m.so|--login|--pin|" + token + "|--label|demo/rsa|--sign", "pkcs11-tool --module /m.so --login --pin [redacted] --label demo/rsa --sign"},
		{"pkcs11-tool|--pin=geheim|--so-pin|geheim|--new-pin|geheim", "pkcs11-tool --pin=[redacted] --so-pin [redacted] --new-pin [redacted]"},
		{"pkcs11-tool|-l|-p|geheim|-O", "pkcs11-tool -l -p [redacted] -O"},
		{"pkcs11-tool|-pgeheim|-lp|geheim|-lOpgeheim", "pkcs11-tool -p[redacted] -lp [redacted] -lOp[redacted]"},
		{"sudo|/usr/bin/pkcs11-tool|-p|geheim", "sudo /usr/bin/pkcs11-tool -p [redacted]"},
		{"pkcs11-tool|--init-token|--token-label|name|--change-pin|--pin|geheim", "pkcs11-tool --init-token --token-label name --change-pin --pin [redacted]"},
		{"mkdir|-p|/tmp/x", "mkdir -p /tmp/x"},
		{"p11tool|--login|--set-pin=geheim|--set-so-pin=geheim|pkcs11:token=name;pin-value=geheim",
			"p11tool --login --set-pin=[redacted] --set-so-pin=[redacted] pkcs11:token=name;pin-value=[redacted]"},
		{"softhsm2-util|--so-pin|geheim|--pin|geheim|--free", "softhsm2-util --so-pin [redacted] --pin [redacted] --free"},
		{"yubico-piv-tool|-a|verify-pin|-Pgeheim", "yubico-piv-tool -a verify-pin -P[redacted]"},
		// cosign
		{"cosign|sign|--key|pkcs11:token=signkit;slot-id=1;id=a;object=b?module-path=/m.so&pin-value=" + org + "%3a" + token + "|image",
			"cosign sign --key pkcs11:token=signkit;slot-id=1;id=a;object=b?module-path=/m.so&pin-value=[redacted] image"},
		{"cosign|sign|--key=pkcs11:id=a?pin-value=geheim|--identity-token=geheim|--registry-password|geheim",
			"cosign sign --key=pkcs11:id=a?pin-value=[redacted] --identity-token=[redacted] --registry-password [redacted]"},
		// the vendor's scripts
		{"pwsh|Run.ps1|-OrganizationId|" + org + "|-ApiToken|" + token + "|-APITOKEN:geheim|-apitoken|geheim|-ProjectSlug|demo",
			"pwsh Run.ps1 -OrganizationId " + org + " -ApiToken [redacted] -APITOKEN:[redacted] -apitoken [redacted] -ProjectSlug demo"},
		{"run|--api-token|geheim|--CIUserToken|geheim", "run --api-token [redacted] --CIUserToken [redacted]"},
		// anywhere
		{"tool|" + org + ":" + token, "tool " + org + ":[redacted]"},
		{"tool|--x=" + strings.ToUpper(org) + ":" + token, "tool --x=" + strings.ToUpper(org) + ":[redacted]"},
		{"tool|x" + org + "%3A" + token + "y", "tool x" + org + "%3A[redacted]"},
		{"tool|" + org, "tool " + org},
		// variables
		{"env|SIGNPATH_API_TOKEN=" + token + "|SIGNPATH_CI_USER_TOKEN=geheim|SIGNPATH_API_TOKEN_FILE=/run/t|PIN=geheim|gpg|x",
			"env SIGNPATH_API_TOKEN=[redacted] SIGNPATH_CI_USER_TOKEN=[redacted] SIGNPATH_API_TOKEN_FILE=/run/t PIN=[redacted] gpg x"},
		{"docker|run|-e|COSIGN_PASSWORD=geheim|--env=API_KEY=geheim|-eTOKEN=geheim", "docker run -e COSIGN_PASSWORD=[redacted] --env=API_KEY=[redacted] -eTOKEN=[redacted]"},
		// curl
		{"curl|-H|Authorization: Bearer " + token + "|https://sign.example/Api", `curl -H Authorization:[redacted] https://sign.example/Api`},
		{"curl|-HAuthorization: Bearer geheim", `curl -HAu[redacted]`}, // taken for -u, as good,
		{"curl|--header=authorization: basic geheim|-H|PRIVATE-TOKEN: geheim", `curl --header=authorization:[redacted] -H PRIVATE-TOKEN:[redacted]`},
		{"curl|-u|me:geheim|-sSu|me:geheim|--proxy-user|x|--oauth2-bearer|geheim", "curl -u [redacted] -sSu [redacted] --proxy-user [redacted] --oauth2-bearer [redacted]"},
		{"curl|https://me:geheim@host/x?a=b&access_token=geheim&c=d", "curl https://[redacted]@host/x?a=b&access_token=[redacted]&c=d"},
		// scripts in one argument
		{"sh|-c|openssl dgst -sign \"pkcs11:id=a;pin-value=geheim\" f && pkcs11-tool --login --pin 'geh eim' -O; echo done",
			`sh -c "openssl dgst -sign pkcs11:id=a;pin-value=[redacted] f && pkcs11-tool --login --pin [redacted] -O; echo done"`},
		{"bash|-c|curl -H 'Authorization: Bearer geheim' https://x -u me:geheim", `bash -c "curl -H Authorization:[redacted] https://x -u [redacted]"`},
		{"bash|-c|curl -H Authorization: Bearer geheim x", `bash -c "curl -H Authorization: [redacted] [redacted] x"`},
		{"bash|-c|SIGNPATH_API_TOKEN=geheim two words", `bash -c SIGNPATH_API_TOKEN=[redacted]`},
		{"bash|-c|exec env SIGNPATH_API_TOKEN=geheim sh -c \"pkcs11-tool -p 'geh eim' -O\"", `bash -c "exec env SIGNPATH_API_TOKEN=[redacted] sh -c 'pkcs11-tool -p [redacted] -O'"`},
		{"bash|-c|x --pin \"geheim geheim", `bash -c "x --pin [redacted]"`},
		{"bash|-c|x\n--pin geheim", `bash -c "x\n--pin [redacted]"`},
		{"curl|--user|me:geheim|--proxy-user=me:geheim|https://x", "curl --user [redacted] --proxy-user=[redacted] https://x"},
		{"docker|run|--user|1000|x", "docker run --user 1000 x"},
		{"ssh-keygen|-t|rsa|-N|geheim|-Pgeheim|-f|x", "ssh-keygen -t rsa -N [redacted] -P[redacted] -f x"},
		{"openssl|dgst|-mac|hmac|-macopt|key:geheim|-sha256|f", "openssl dgst -mac hmac -macopt key:[redacted] -sha256 f"},
		// JSON, programs
		{`curl|-d|{"user":"me","api_token":"geheim","n":1}`, `curl -d {"user":"me","api_token":"[redacted]","n":1}`},
		{`curl|--data={"token": "ge\"heim", "n": 1}`, `curl "--data={\"token\": \"[redacted]\", \"n\": 1}"`},
		{`curl|-d|{"pin":67656865696d}`, `curl -d {"pin":[redacted]}`},
		{`bash|-c|curl -d "{\"token\": \"geheim\"}" x`, `bash -c "curl -d '{\"token\": \"[redacted]\"}' x"`},
		{`python3|-c|import os; os.environ["SIGNPATH_API_TOKEN"] = "geheim"; run('x')`,
			`python3 -c "import os; os.environ[\"SIGNPATH_API_TOKEN\"] = \"[redacted]\"; run('x')"`},
		{`python3|-c|run(["pkcs11-tool","--pin","geheim","-O"])`, `python3 -c run(["pkcs11-tool","--pin","[redacted]","-O"])`},
		{`node|-e|x({'password': 'geheim', a: 'b'})`, `node -e "x({'password': '[redacted]', a: 'b'})"`},
		{`bash|-c|x '"token":"geheim`, `bash -c "x \"token\":\"[redacted]"`},
		// nothing to hide
		{`curl|-d|{"project":"demo","file":"a"}`, `curl -d {"project":"demo","file":"a"}`},
		{"gpg|--batch|--pinentry-mode|loopback|--passphrase-fd|0|-u|ABC|--sign|f", "gpg --batch --pinentry-mode loopback --passphrase-fd 0 -u ABC --sign f"},
		{"rpmsign|--define|_gpg_name x|--addsign|a b.rpm||é", `rpmsign --define "_gpg_name x" --addsign "a b.rpm" "" é`},
		{"echo|\x1b[31m\xff", `echo "\x1b[31m\xff"`},
	}
	for _, test := range tests {
		got := CleanCommandLine(strings.Split(test.args, "|"))
		if got != test.want {
			t.Errorf("%s\n got %s\nwant %s", test.args, got, test.want)
		}
		for _, secret := range []string{"geh", "eim", token, token[:8], "AKgY", "67656865"} {
			if strings.Contains(got, secret) {
				t.Errorf("%s\nshows %q: %s", test.args, secret, got)
			}
		}
	}
}

func TestCleanCommandLineOfNothing(t *testing.T) {
	if got := CleanCommandLine(nil); got != "" {
		t.Errorf("got %q", got)
	}
}

// FuzzCleanCommandLine: whatever stands around it, the value of --pin is never shown.
func FuzzCleanCommandLine(f *testing.F) {
	f.Add("openssl dgst", "pkcs11:id=a?x=y")
	f.Add("sh -c 'a \"b", "-p -k --token")
	f.Add("curl -H Authorization:", "\\")
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "Zq7" + "geheim" + "Xw9"
		got := CleanCommandLine([]string{before, "--pin", secret, after})
		if strings.Contains(got, secret) && !strings.Contains(before+after, secret) {
			t.Errorf("the PIN is shown: %s", got)
		}
	})
}
