package caller

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const redacted = "[redacted]"

// CleanCommandLine joins the arguments of a process, the program's name first, into one
// line without secrets: their whole values are replaced by "[redacted]". An argument
// with white space or anything unprintable is shown as a quoted Go string.
//
// Secrets are known by the options, variables, headers and URI attributes that carry
// them, in any case (--pin X, -storepass X, SIGNPATH_API_TOKEN=X, pin-value=X,
// ORGANIZATION_ID:X, "Authorization: X"), also inside a script that is one argument.
// When in doubt too much is replaced, not too little.
func CleanCommandLine(args []string) string {
	cleaned := cleanArguments(args, 0)
	for i, arg := range cleaned {
		cleaned[i] = show(arg)
	}
	return strings.Join(cleaned, " ")
}

// show quotes what would break the line or hide where an argument ends.
func show(arg string) string {
	odd := func(r rune) bool { return r == ' ' || !unicode.IsPrint(r) }
	if arg == "" || !utf8.ValidString(arg) || strings.ContainsFunc(arg, odd) {
		return strconv.Quote(arg)
	}
	return arg
}

// deepest bounds the nesting of scripts in arguments of scripts.
const deepest = 8

// cleanArguments cleans the words of a command, or of a script that is one argument.
func cleanArguments(args []string, depth int) []string {
	cleaned := make([]string, len(args))
	var letters []string // options with secrets, of the programs seen so far
	hide := 0            // so many of the next words are secret
	for i, arg := range args {
		text, next := cleanArgument(arg, letters, depth)
		if hide > 0 {
			text = redacted
			hide--
			if authScheme(arg) {
				hide++ // "Authorization: Bearer X" without quotes
			}
		}
		cleaned[i], hide = text, max(hide, next)
		letters = append(letters, secretLetters(program(arg))...)
	}
	return cleaned
}

// cleanArgument cleans one word, and says how many of the words after it are secret.
func cleanArgument(arg string, letters []string, depth int) (text string, next int) {
	if option := secretOption(arg, letters); option == arg && option != "" {
		return arg, 1
	} else if option != "" {
		return option + redacted, 0
	}
	name, value, given := cutOption(arg)
	switch {
	case !given && isOption(arg) && secretName(arg):
		return arg, 1
	case given && value == "" && secretHeader(name):
		return arg, 1
	case given && (secretHeader(name) || secretName(name)) && !indirect(arg, value):
		return arg[:len(arg)-len(value)] + redacted, 0
	case given && indirect(arg, value):
		return arg, 0
	case given && depth >= deepest:
		return name + "=" + redacted, 0
	case given:
		value, _ := cleanArgument(value, nil, depth+1)
		return arg[:len(name)+1] + value, 0
	}
	return cleanText(arg, depth), 0
}

// cleanText cleans what is no option: a single word, or a script, word by word; in both then what looks like JSON or a program.
func cleanText(text string, depth int) string {
	switch {
	case !strings.ContainsFunc(text, unicode.IsSpace):
		text = cleanWord(text)
	case depth >= deepest:
		return redacted
	default:
		text = cleanScript(text, depth)
	}
	return cleanQuoted(text)
}

func cleanScript(text string, depth int) string {
	words := splitWords(text)
	plain := make([]string, len(words))
	for i, w := range words {
		plain[i] = w.plain
	}
	var b strings.Builder
	for i, clean := range cleanArguments(plain, depth+1) {
		b.WriteString(words[i].space)
		if clean == words[i].plain {
			clean = words[i].raw
		} else if strings.ContainsFunc(clean, unicode.IsSpace) {
			clean = "'" + clean + "'"
		}
		b.WriteString(clean)
	}
	return b.String()
}

// isOption reports whether the word begins as an option does.
func isOption(arg string) bool { return len(arg) > 1 && arg[0] == '-' }

// cutOption splits --name=value, -Dname=value, NAME=value, -Name:value and "Name: value".
func cutOption(arg string) (name, value string, given bool) {
	at := strings.IndexFunc(arg, func(r rune) bool { return !nameRune(r) })
	if at <= 0 {
		return arg, "", false
	}
	header := arg[at] == ':' && (at+1 == len(arg) || arg[at+1] == ' ')
	if arg[at] != '=' && !header && (arg[at] != ':' || !isOption(arg)) {
		return arg, "", false
	}
	return arg[:at], arg[at+1:], true
}

func nameRune(r rune) bool {
	return r == '-' || r == '_' || r == '.' || r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r))
}

// indirect reports whether the option says where the secret is instead of holding it:
// -storepass:env NAME and -storepass:file FILE of the Java tools.
func indirect(arg, value string) bool {
	return isOption(arg) && strings.HasSuffix(arg, ":"+value) && (value == "env" || value == "file")
}

// program is the name a word would have as a program.
func program(word string) string {
	return filepath.Base(strings.TrimLeft(word, ";|&($`{"))
}

// secretLetters returns the one-letter options of a program that carry secrets; elsewhere
// the same letters are harmless. What begins with "=" is all that follows the option's first dash.
func secretLetters(program string) []string {
	switch program {
	case "pkcs11-tool", "sshpass", "docker", "podman", "buildah", "helm", "oras":
		return []string{"p"}
	case "curl":
		return []string{"u", "U", "=-user", "=-proxy-user", "=-tlsuser", "=-proxy-tlsuser"}
	case "ssh-keygen":
		return []string{"N", "P"}
	case "yubico-piv-tool":
		return []string{"P", "N", "k"}
	case "gpg-preset-passphrase":
		return []string{"P"}
	case "openssl":
		return []string{"=k", "=K", "=hmac"} // whole words: openssl does not cluster letters
	}
	return nil
}

// secretOption returns the part of the word up to and with an option of letters: "-p" of
// "-pX", "-lp" of "-lp", "--user=" of "--user=X".
func secretOption(arg string, letters []string) string {
	if !isOption(arg) {
		return ""
	}
	name, _, given := strings.Cut(arg, "=")
	if slices.Contains(letters, "="+name[1:]) {
		if given {
			name += "="
		}
		return name
	}
	if arg[1] == '-' {
		return ""
	}
	for i := 1; i < len(arg) && unicode.IsLetter(rune(arg[i])); i++ {
		if slices.Contains(letters, arg[i:i+1]) {
			return arg[:i+1]
		}
	}
	return ""
}
