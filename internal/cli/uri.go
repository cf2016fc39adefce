package cli

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
id, exactly as that tool expects it. The PIN in it is CONFIG, which stands for the
credentials in the settings. With --command, print a whole command line instead.
The service is not contacted.

Tools: ` + strings.Join(toolNames(), ", ") + `.`,
		Example: `  uri=$(signkit uri my-project/release-signing --for engine)
  openssl dgst -sha256 -engine pkcs11 -keyform engine -sign "$uri" -out app.sig app
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
