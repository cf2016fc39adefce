package cli

// toolUse is how one tool names a key and is called. In its texts {OBJECT} is the key's name
// escaped for a URI, {KEY} the name itself, {HEX} its bytes in hexadecimal, {MODULE} the
// module's path, and {URI} the field uri.
type toolUse struct {
	name, uri string
	command   string
	notes     []string
}

// toolUses is the one list of tools. Both spellings of the PIN are in use: libp11 came before
// RFC 7512 and has it among the attributes of the path (";"), the RFC after "?".
func toolUses() []toolUse {
	const (
		engineURI   = "pkcs11:object={OBJECT};type=private;pin-value=CONFIG"
		providerURI = "pkcs11:object={OBJECT};type=private?pin-value=CONFIG"
		readWrite   = "SIGNPATH_CRYPTOKI_DO_NOT_FAIL_ON_READ_WRITE_SESSIONS=true"
		leaf        = "leaf.pem: signkit certificate {KEY} --output leaf.pem"

		dgstProvider = "PKCS11_PROVIDER_MODULE={MODULE} openssl dgst -provider pkcs11 -provider default -sha256 " +
			"-sign {URI} -out FILE.sig FILE"
		javaFile  = "printf 'name=SignKit\\nlibrary=%s\\nslot=1\\n' {MODULE} >pkcs11.cfg && "
		javaStore = " -keystore NONE -storetype PKCS11 -storepass CONFIG " +
			"-providerClass sun.security.pkcs11.SunPKCS11 -providerArg pkcs11.cfg "
	)
	return []toolUse{
		{"openssl", providerURI, dgstProvider, []string{
			"the URI is for the engine as well as for the provider; --for engine shows the engine's command line",
		}},
		{"provider", providerURI, dgstProvider, nil},
		{"engine", engineURI,
			"PKCS11_MODULE_PATH={MODULE} openssl dgst -engine pkcs11 -keyform engine -sha256 -sign {URI} -out FILE.sig FILE", nil},
		{"osslsigncode", engineURI,
			"osslsigncode sign -pkcs11module {MODULE} -certs full.pem -key {URI} -h sha256 -in FILE -out FILE.signed", []string{
				"full.pem: signkit certificate {KEY} --chain --output full.pem",
				"from version 2.10 on with the provider: PKCS11_PROVIDER_MODULE={MODULE}, " +
					"-provider pkcs11 instead of -pkcs11module, the URI of --for provider",
			}},
		{"jarsigner", "{KEY}", javaFile + "jarsigner" + javaStore + "-sigalg SHA256withRSA FILE.jar {URI}", []string{
			"EC keys: -sigalg SHA256withECDSA",
		}},
		{"keytool", "{KEY}", javaFile + "keytool -list -v" + javaStore + "-alias {URI}", nil},
		{"cosign", "pkcs11:token=SignKit;slot-id=1;object={OBJECT}?module-path={MODULE_URI}&pin-value=CONFIG",
			readWrite + " cosign sign-blob --yes --key {URI} --output-signature FILE.sig FILE", []string{
				"it opens read/write sessions: " + readWrite + " lets it",
				"the usual cosign cannot do PKCS#11; its build pivkey-pkcs11key can",
			}},
		{"pkcs11-tool", "{HEX}",
			"pkcs11-tool --module {MODULE} --login --pin CONFIG --sign --id {URI} -m SHA256-RSA-PKCS -i FILE -o FILE.sig", []string{
				"--label does not choose the key when signing: the first one signs, whatever the label says",
				"EC keys: -m ECDSA --signature-format openssl, and the hash as input",
				"before version 0.23 it opens read/write sessions: " + readWrite + " lets it",
			}},
		{"p11tool", "pkcs11:object={OBJECT};type=private",
			"p11tool --provider={MODULE} --login --set-pin=CONFIG --test-sign {URI}", nil},
		{"sbsign", engineURI,
			"PKCS11_MODULE_PATH={MODULE} sbsign --engine pkcs11 --key {URI} --cert leaf.pem --output FILE.signed FILE.efi",
			[]string{leaf}},
		{"sign-file", providerURI,
			"OPENSSL_CONF=/etc/signkit/openssl-provider.cnf sign-file sha256 {URI} leaf.pem MODULE.ko", []string{
				leaf,
				"the sign-file of Linux 5.10 uses the engine: PKCS11_MODULE_PATH={MODULE} and the URI of --for engine",
			}},
		{"pesign", "{KEY}",
			"pesign --certdir NSS-FOLDER -t SignKit -c {URI} --pinfile FILE-WITH-THE-WORD-CONFIG -s -i FILE.efi -o FILE.signed", []string{
				"before: modutil -dbdir sql:NSS-FOLDER -add signkit -libfile {MODULE}",
				"RSA keys only; --pinfile needs version 116",
			}},
	}
}
