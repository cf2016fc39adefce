package main

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

const moduleFile = "libsignkit-pkcs11.so"

func newURICommand(a *app) *cobra.Command {
	var tool, module string
	var command bool
	cmd := &cobra.Command{
		Use:   "uri [PROJECT/POLICY] --for TOOL",
		Short: "Print the name by which a tool knows a key: a PKCS#11 URI, an alias or an id",
		Long: `Print the name by which a tool knows a key: a PKCS#11 URI (RFC 7512), an alias or an
id, exactly as that tool takes it. The PIN in it is CONFIG, which stands for the
credentials in the settings. With --command, print a whole command line instead.
The service is not asked.

Tools: ` + strings.Join(toolNames(), ", ") + `.`,
		Example: `  openssl dgst -sha256 -engine pkcs11 -keyform engine -sign "$(signkit uri my-project/release-signing --for engine)" -out sig app
  signkit uri my-project/release-signing --for osslsigncode --command`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeKeys,
		RunE: func(_ *cobra.Command, args []string) error {
			use, err := findTool(tool)
			if err != nil {
				return err
			}
			name, err := a.keyName(args)
			if err != nil {
				return err
			}
			return a.showURI(use, name, a.modulePath(module), command)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&tool, "for", "", "the `TOOL`")
	flags.StringVar(&module, "module", "", "`PATH` of the PKCS#11 module (default: where it is installed)")
	flags.BoolVar(&command, "command", false, "print a whole command line, to be adapted")
	a.jsonFlag(cmd)
	completeTools := cobra.FixedCompletions(toolNames(), cobra.ShellCompDirectiveNoFileComp)
	cobra.CheckErr(cmd.RegisterFlagCompletionFunc("for", completeTools))
	return cmd
}

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
		readWrite   = "it opens read/write sessions: SIGNPATH_CRYPTOKI_DO_NOT_FAIL_ON_READ_WRITE_SESSIONS=true lets it"
		fullChain   = "full.pem: signkit certificate {KEY} --chain --output full.pem"
	)
	javaStore := "printf 'name=SignKit\\nlibrary=%s\\nslot=1\\n' {MODULE} >pkcs11.cfg\n"
	return []toolUse{
		{"openssl", providerURI,
			"PKCS11_PROVIDER_MODULE={MODULE} openssl dgst -provider pkcs11 -provider default -sha256 -sign {URI} -out FILE.sig FILE",
			[]string{"the URI is for the engine as well as for the provider; --for engine shows the engine's command line"}},
		{"provider", providerURI,
			"PKCS11_PROVIDER_MODULE={MODULE} openssl dgst -provider pkcs11 -provider default -sha256 -sign {URI} -out FILE.sig FILE", nil},
		{"engine", engineURI,
			"PKCS11_MODULE_PATH={MODULE} openssl dgst -engine pkcs11 -keyform engine -sha256 -sign {URI} -out FILE.sig FILE", nil},
		{"osslsigncode", engineURI,
			"osslsigncode sign -pkcs11module {MODULE} -certs full.pem -key {URI} -h sha256 -in FILE -out FILE.signed",
			[]string{fullChain, "from version 2.10 on with the provider: PKCS11_PROVIDER_MODULE={MODULE} and -provider pkcs11 instead of -pkcs11module, the URI of --for provider"}},
		{"jarsigner", "{KEY}",
			javaStore + "jarsigner -keystore NONE -storetype PKCS11 -storepass CONFIG -providerClass sun.security.pkcs11.SunPKCS11 -providerArg pkcs11.cfg -sigalg SHA256withRSA FILE.jar {URI}",
			[]string{"EC keys: -sigalg SHA256withECDSA"}},
		{"keytool", "{KEY}",
			javaStore + "keytool -list -v -keystore NONE -storetype PKCS11 -storepass CONFIG -providerClass sun.security.pkcs11.SunPKCS11 -providerArg pkcs11.cfg -alias {URI}", nil},
		{"cosign", "pkcs11:token=SignKit;slot-id=1;object={OBJECT}?module-path={MODULE_URI}&pin-value=CONFIG",
			"SIGNPATH_CRYPTOKI_DO_NOT_FAIL_ON_READ_WRITE_SESSIONS=true cosign sign-blob --yes --key {URI} --output-signature FILE.sig FILE",
			[]string{readWrite, "the usual cosign cannot do PKCS#11; its build pivkey-pkcs11key can"}},
		{"pkcs11-tool", "{HEX}",
			"pkcs11-tool --module {MODULE} --login --pin CONFIG --sign --id {URI} -m SHA256-RSA-PKCS -i FILE -o FILE.sig",
			[]string{"--label does not choose the key when signing: the first one signs, whatever the label says", "EC keys: -m ECDSA --signature-format openssl, and the hash as input", "before version 0.23 " + readWrite}},
		{"p11tool", "pkcs11:object={OBJECT};type=private",
			"p11tool --provider={MODULE} --login --set-pin=CONFIG --test-sign {URI}", nil},
		{"sbsign", engineURI,
			"PKCS11_MODULE_PATH={MODULE} sbsign --engine pkcs11 --key {URI} --cert leaf.pem --output FILE.signed FILE.efi",
			[]string{"leaf.pem: signkit certificate {KEY} --output leaf.pem"}},
		{"sign-file", providerURI,
			"OPENSSL_CONF=/etc/signkit/openssl-provider.cnf sign-file sha256 {URI} leaf.pem MODULE.ko",
			[]string{"leaf.pem: signkit certificate {KEY} --output leaf.pem", "the sign-file of Linux 5.10 uses the engine: PKCS11_MODULE_PATH={MODULE} and the URI of --for engine"}},
		{"pesign", "{KEY}",
			"pesign --certdir NSS-FOLDER -t SignKit -c {URI} --pinfile FILE-WITH-THE-WORD-CONFIG -s -i FILE.efi -o FILE.signed",
			[]string{"before: modutil -dbdir sql:NSS-FOLDER -add signkit -libfile {MODULE}", "RSA keys only; --pinfile needs version 116"}},
	}
}

func toolNames() []string {
	var names []string
	for _, use := range toolUses() {
		names = append(names, use.name)
	}
	return names
}

func findTool(name string) (toolUse, error) {
	for _, use := range toolUses() {
		if use.name == name {
			return use, nil
		}
	}
	hint := "--for is one of " + strings.Join(toolNames(), ", ")
	switch name {
	case "":
		return toolUse{}, withHint(usageError("for which tool?"), hint)
	case "gpg", "rpmsign", "debsigs", "git", "mvn":
		return toolUse{}, withHint(usageError("%s knows keys by their fingerprint and not by a URI", name),
			`eval "$(signkit gpg init PROJECT/POLICY)" prepares gpg and sets GPG_KEY_ID`)
	}
	return toolUse{}, withHint(usageError("--for %s: the tool is not known", name), hint)
}

// modulePath is the module that was named, or the one that is installed.
func (a *app) modulePath(named string) string {
	if named != "" {
		return a.absolute(named)
	}
	path, ok := installed(moduleFile)
	if !ok {
		a.ui.warning("there is no %s beside this program or in %s", moduleFile, libraryDirectory)
		a.ui.hint("--module names another place")
	}
	return path
}

// fill puts the key into all texts of a tool.
func (t toolUse) fill(name keyName, module string) toolUse {
	plain := func(s string) string { return s }
	texts := func(quote func(string) string) *strings.Replacer {
		return strings.NewReplacer("{KEY}", quote(name.String()), "{MODULE}", quote(module), "{URI}", quote(t.uri),
			"{OBJECT}", escapeURI(name.String(), ""), "{MODULE_URI}", escapeURI(module, "/"),
			"{HEX}", hex.EncodeToString([]byte(name.String())))
	}
	t.uri = texts(plain).Replace(t.uri)
	t.command = texts(shellQuote).Replace(t.command)
	r := texts(plain)
	notes := []string{}
	for _, note := range t.notes {
		notes = append(notes, r.Replace(note))
	}
	t.notes = notes
	return t
}

// escapeURI leaves unreserved characters (RFC 3986, section 2.3) and those in keep.
func escapeURI(s, keep string) string {
	const unreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
	var b strings.Builder
	for _, c := range []byte(s) {
		if strings.IndexByte(unreserved+keep, c) >= 0 {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

func (a *app) showURI(use toolUse, name keyName, module string, command bool) error {
	use = use.fill(name, module)
	switch {
	case a.ui.json:
		return a.ui.document(struct {
			Tool    string   `json:"tool"`
			Key     string   `json:"key"`
			URI     string   `json:"uri"`
			Module  string   `json:"module"`
			Command string   `json:"command"`
			Notes   []string `json:"notes"`
		}{use.name, name.String(), use.uri, module, use.command, use.notes})
	case command:
		for _, note := range use.notes {
			a.ui.line("# %s", note)
		}
		a.ui.line("%s", use.command)
	default:
		a.ui.line("%s", use.uri)
	}
	return nil
}
