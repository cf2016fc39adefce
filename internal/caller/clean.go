package caller

import (
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// omitted stands for an argument, or the value of an option, that is not recorded.
const omitted = "[...]"

// options are names of options that signing tools take. Their form alone does not tell:
// "-pSECRET" looks like "-provider", and a password may begin with a dash. An option that
// is missing here is only not recorded.
var options = strings.Fields(`
	-addprovider -alias -binary -certfile -certs -content -digest -digestalg -engine -in
	-inform -inkey -jar -keyform -keypass -keystore -login -mac -macopt -md -new -out -outform
	-pass -passin -pkcs11cert -pkcs11engine -pkcs11module -pkeyopt -pre -propquery -provider
	-provider-path -providerArg -providerClass -query -rawin -readpass -sha1 -sha224 -sha256
	-sha384 -sha512 -sigalg -sigfile -sign -signedjar -signer -sigopt -storepass -storetype
	-strict -subj -tsa -tsadigestalg -verbose -verify -x509
	--alg --alias --allow-sw --armor --attribute-file --batch --bundle --certificate --certs
	--config --daemon --debug --detach-sign --digest --file --hash-algorithm --homedir --id
	--identity --identity-token --in-memory --input-file --key --keystore --label --login --mechanism --mgf
	--module --name --new-pin --object --output --output-file --pin --pinentry-mode --plugin
	--private --provider --read-object --registry-password --replace --server --set-pin --sign
	--signature-file --signature-format --slot --slot-index --so-pin --storepass --storetype
	--supervised --timestamp --timestamp-url --token-label --tsaurl --type --upload
	--use-standard-socket --verbose --verify --write-object --yes
`)

// cleanCommandLine joins the arguments of a process, the program's name first, into one line
// that holds no secret, since nothing enters it but what is known to be none: the program's
// name, names of options, and names of files that exist, which isFile tells. All else is
// "[...]", the values of options included. An argument with white space or anything
// unprintable is shown as a quoted Go string. A line that is too long ends early.
func cleanCommandLine(args []string, isFile func(name string) bool) string {
	var line strings.Builder
	for i, arg := range args {
		if line.Len() > longestLine {
			break // the number of files that are looked for is bounded, too
		}
		if i > 0 {
			line.WriteByte(' ')
		}
		if i > 0 || !isProgram(arg) {
			arg = cleanArgument(arg, isFile)
		}
		line.WriteString(show(arg))
	}
	return line.String()
}

// isProgram is false for the title that some programs give themselves in place of their
// arguments: that has spaces, at least.
func isProgram(arg string) bool {
	return arg != "" && !strings.ContainsFunc(arg, func(r rune) bool { return !isAlphanumeric(r) && !strings.ContainsRune("/._+-", r) })
}

func cleanArgument(arg string, isFile func(name string) bool) string {
	named := func(s string) bool { return mayNameFile(s) && isFile(s) }
	option, value, given := strings.Cut(arg, "=")
	switch {
	case named(arg):
		return arg
	case !isOption(option):
		return omitted
	case !given || named(value):
		return arg
	}
	return option + "=" + omitted
}

// mayNameFile wants a folder or a suffix: a PIN or password may happen to be the name of a
// file in the working folder.
func mayNameFile(arg string) bool { return strings.ContainsAny(arg, "./") }

// isOption is true for "-", "--", any letter after a dash, and what options lists.
func isOption(arg string) bool {
	switch {
	case !strings.HasPrefix(arg, "-"):
		return false
	case len(arg) <= 2:
		return len(arg) == 1 || arg[1] == '-' || isAlphanumeric(rune(arg[1]))
	}
	return slices.Contains(options, arg)
}

func isAlphanumeric(r rune) bool {
	return '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
}

// show quotes what would break the line or hide where an argument ends.
func show(arg string) string {
	odd := func(r rune) bool { return r == ' ' || !unicode.IsPrint(r) }
	if arg == "" || !utf8.ValidString(arg) || strings.ContainsFunc(arg, odd) {
		return strconv.Quote(arg)
	}
	return arg
}
