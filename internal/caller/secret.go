package caller

import (
	"regexp"
	"slices"
	"strings"
	"sync"
)

// secretName reports whether an option, variable or property of that name, with or
// without its dashes, holds a secret. The last word of the name decides: a
// token's file and a token's label are none.
func secretName(name string) bool {
	if property, found := propertyName(name); found && secretName(property) {
		return true
	}
	name = splitCamelCase(strings.TrimLeft(name, "-"))
	words := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return r == '-' || r == '_' || r == '.' })
	if len(words) == 0 || harmless(strings.Join(words, "-")) {
		return false
	}
	last := words[len(words)-1]
	if slices.Contains([]string{"pin", "pi", "puk", "pwd", "cred", "creds", "credential", "credentials", "auth", "bearer", "sopin", "userpin", "newpin"}, last) {
		return true
	}
	for _, ending := range []string{"pass", "passwd", "password", "passphrase", "passin", "passout", "token", "secret", "apikey"} {
		if strings.HasSuffix(last, ending) {
			return true
		}
	}
	return last == "value" && len(words) > 1 && words[len(words)-2] == "pin" ||
		last == "key" && len(words) > 1 && slices.Contains([]string{"api", "secret", "access"}, words[len(words)-2])
}

// propertyName is the name in an option that defines a property: -Dname of Java and Maven, -J-Dname of its tools, -Pname of Gradle.
func propertyName(option string) (name string, found bool) {
	for _, prefix := range []string{"-J-D", "-D", "-P"} {
		if name, found = strings.CutPrefix(option, prefix); found && name != "" {
			return name, true
		}
	}
	return "", false
}

// splitCamelCase puts a dash before each capital that follows a small letter or a digit.
func splitCamelCase(name string) string {
	var b strings.Builder
	for i := range len(name) {
		if i > 0 && 'A' <= name[i] && name[i] <= 'Z' && ('a' <= name[i-1] && name[i-1] <= 'z' || '0' <= name[i-1] && name[i-1] <= '9') {
			b.WriteByte('-')
		}
		b.WriteByte(name[i])
	}
	return b.String()
}

// harmless lists options that read like secrets and take none.
func harmless(name string) bool {
	return slices.Contains([]string{"askpass", "readpass", "init-token", "init-pin", "change-pin", "unlock-pin"}, name)
}

// secretHeader reports whether an HTTP header of that name holds a secret.
func secretHeader(name string) bool {
	name = strings.ToLower(name)
	return name == "authorization" || name == "proxy-authorization" || name == "cookie" || !strings.HasPrefix(name, "-") && secretName(name)
}

// authScheme reports whether the word is a scheme of the Authorization header (RFC 9110,
// section 11.1), behind which the secret follows.
func authScheme(word string) bool {
	return slices.Contains([]string{"basic", "bearer", "digest", "negotiate", "token"}, strings.ToLower(word))
}

// Compiling these takes a tenth of a token process's start, so each waits for its first
// use, and is used only where the word has what the pattern cannot do without.
var (
	organizationToken = compiled(`(?i)([0-9a-f]{8}(?:(?:-|%2d)[0-9a-f]{4}){3}(?:-|%2d)[0-9a-f]{12}(?::|%3a)).+`)
	userInfo          = compiled(`(://)[^/?#]*@`)
	opensslSource     = compiled(`(?i)((?:^|[^a-z0-9])(?:pass|pin|secret|hexkey|hexpass|hexsecret)|^key):.+`)
	queryParameter    = compiled(`([?&])([A-Za-z0-9_.-]+)=([^&#]*)`)
	authorization     = compiled(`(?i)(authorization(?::|%3a)).+`)
	pinValue          = compiled(`(?i)pin-value(?:=|%3d)`)
	quotedName        = compiled("[\"']([A-Za-z0-9_.-]+)\\\\*[\"'][\\])]*\\s*[:=,]\\s*")
	openingQuote      = compiled("^\\\\*[\"']")
	attribute         = compiled(`^(?:[?&;]|%3[fb]|%26)[A-Za-z][A-Za-z0-9-]*(?:=|%3[dD])`)
)

func compiled(pattern string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
}

// cleanWord replaces secrets inside one word without white space.
func cleanWord(s string) string {
	if strings.IndexByte(s, ':') < 0 && strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '=') < 0 {
		return s
	}
	s = cleanPINValue(s)
	s = organizationToken().ReplaceAllString(s, "${1}"+redacted)
	s = userInfo().ReplaceAllString(s, "${1}"+redacted+"@")
	s = opensslSource().ReplaceAllString(s, "${1}:"+redacted)
	s = authorization().ReplaceAllString(s, "${1}"+redacted)
	if !strings.Contains(s, "://") {
		return s // in a PKCS#11 URI token= is a label
	}
	return queryParameter().ReplaceAllStringFunc(s, func(parameter string) string {
		name, _, _ := strings.Cut(parameter[1:], "=")
		if !secretName(name) && !signedParameter(name) {
			return parameter
		}
		return parameter[:1] + name + "=" + redacted
	})
}

// signedParameter reports whether a parameter of a URL lets its bearer in: the signatures of storage services.
func signedParameter(name string) bool {
	name = strings.ToLower(name)
	return name == "sig" || strings.HasSuffix(name, "signature")
}

// cleanPINValue replaces the PIN of a PKCS#11 URI (RFC 7512, section 2.3). It ends where
// the next attribute begins: a query's values may hold "?", and a path's "&".
func cleanPINValue(s string) string {
	var b strings.Builder
	for at := pinValue().FindStringIndex(s); at != nil; at = pinValue().FindStringIndex(s) {
		end := at[1]
		for end < len(s) && s[end] != '"' && !beginsAttribute(s[end:]) {
			end++
		}
		b.WriteString(s[:at[1]] + redacted)
		s = s[end:]
	}
	return b.String() + s
}

func beginsAttribute(s string) bool {
	return strings.IndexByte("?&;%", s[0]) >= 0 && attribute().MatchString(s)
}

// cleanQuoted replaces what follows the quoted name of a secret: in JSON ("token": "X"), in programs (environ["TOKEN"] = "X") and in
// lists of arguments ("--pin", "X"). Quotes may be behind backslashes, as in a script in a script.
func cleanQuoted(s string) string {
	if !strings.ContainsAny(s, "\"'") {
		return s
	}
	var b strings.Builder
	for at := quotedName().FindStringSubmatchIndex(s); at != nil; at = quotedName().FindStringSubmatchIndex(s) {
		if !secretName(s[at[2]:at[3]]) {
			b.WriteString(s[:at[3]]) // the value can be the next name
			s = s[at[3]:]
			continue
		}
		quote, value := quotedValue(s[at[1]:])
		b.WriteString(s[:at[1]] + quote + redacted)
		s = s[at[1]+len(quote)+value:]
	}
	return b.String() + s
}

// quotedValue returns the quote that s begins with, and the length of what stands inside; without a quote the length of the first word.
func quotedValue(s string) (quote string, length int) {
	quote = openingQuote().FindString(s)
	if quote == "" {
		if end := strings.IndexAny(s, " \t\r\n,;)}"); end >= 0 {
			return "", end
		}
		return "", len(s)
	}
	inside := s[len(quote):]
	for at := 0; ; at++ {
		found := strings.Index(inside[at:], quote)
		if found < 0 {
			return quote, len(inside)
		}
		if at += found; at == 0 || inside[at-1] != '\\' {
			return quote, at
		}
	}
}
