package moduletest

import (
	"time"

	"signkit/internal/mockapi"
)

type fault = mockapi.Fault

// trouble is one row of what can go wrong.
type trouble struct {
	name  string
	key   string // default demo/rsa-2048
	fault fault  // of the service; Count -1 is for good

	certificateEnd time.Time
	before         func(*ownService) error // when the service has started
	during         func(*ownService) error // while the tool runs
	env            []string

	rv      string // of the failing call; "": it signs all the same
	atLogin string // of C_Login, where that asks first and its value is another one
	record  string // the line that a person sees, without level and call; {…} differ from run to run
	// forgets: the module no longer trusts what it knows of the key, so that a
	// second try ends without another request, and without another record.
	forgets bool
	// least and most bound the time that the settings make one try wait.
	least, most time.Duration
}

// How records begin: what was asked of the service.
const (
	asking  = "reading signing policies: GET {root}/Cryptoki/MySigningPolicies: "
	signing = "signing with {key}: POST {root}/SigningRequests/SignHash: "
	answer  = "the service answered "
	gaveUp  = "; gave up after 3 attempts in {time}"
)

const (
	argumentsBad   = "CKR_ARGUMENTS_BAD"
	functionFailed = "CKR_FUNCTION_FAILED"
	deviceError    = "CKR_DEVICE_ERROR"
	generalError   = "CKR_GENERAL_ERROR"
)

// said is the part of a record about an answer of the service with another status than 200.
func said(status, text string) string {
	return answer + status + " " + text + ": This answer was asked for (fault injection).; " + text + " (traceId {trace})"
}

func always(route, kind string) fault { return fault{Route: route, Kind: kind, Count: -1} }

func once(route, kind string) fault { return fault{Route: route, Kind: kind, Count: 1} }

func status(route string, status int) fault {
	return fault{Route: route, Kind: "status", Status: status, Count: -1}
}

var (
	// quick are the settings where nothing else is said. The defaults wait ten minutes and more.
	quick   = []string{"SIGNPATH_TIMEOUTS_HTTP_REQUEST=20", "SIGNPATH_TIMEOUTS_FIRST_RETRY_DELAY=0.02", "SIGNPATH_TIMEOUTS_RETRY_COUNT=2"}
	patient = []string{"SIGNPATH_TIMEOUTS_FIRST_RETRY_DELAY=0.4", "SIGNPATH_TIMEOUTS_RETRY_COUNT=10"}
	hasty   = []string{"SIGNPATH_TIMEOUTS_HTTP_REQUEST=2"}
)

var troubles = []trouble{
	// What the service says about the request: final.
	{name: "400", fault: status("sign", 400), rv: argumentsBad,
		record: signing + said("400", "Bad Request")},
	{name: "401", fault: status("policies", 401), rv: argumentsBad, atLogin: "CKR_PIN_INCORRECT",
		record: asking + said("401", "Unauthorized") + "; check SIGNPATH_API_TOKEN"},
	{name: "403", fault: status("sign", 403), rv: argumentsBad,
		record: signing + said("403", "Forbidden") +
			"; check that the user of SIGNPATH_API_TOKEN is a submitter of this signing policy"},
	{name: "404", fault: status("policies", 404), rv: argumentsBad,
		record: asking + said("404", "Not Found") + "; check SIGNPATH_ORGANIZATION_ID and SIGNPATH_API_URL"},
	{name: "404 from all sign routes", fault: status("sign", 404), rv: argumentsBad,
		record: signing + said("404", "Not Found") + "; check SIGNPATH_ORGANIZATION_ID and SIGNPATH_API_URL"},
	{name: "409", fault: status("sign", 409), rv: argumentsBad,
		record: signing + said("409", "Conflict")},
	{name: "413", fault: status("sign", 413), rv: argumentsBad,
		record: signing + said("413", "Request Entity Too Large")},

	// What may pass: repeated.
	{name: "429", fault: fault{Route: "sign", Kind: "status", Status: 429, RetryAfter: "1", Count: -1}, rv: functionFailed,
		least: 2 * time.Second, most: 3 * time.Second,
		record: signing + said("429", "Too Many Requests") + gaveUp},
	{name: "429 once", fault: fault{Route: "sign", Kind: "status", Status: 429, RetryAfter: "1", Count: 1},
		least: time.Second, most: 2 * time.Second},
	{name: "500", fault: status("sign", 500), rv: deviceError,
		record: signing + said("500", "Internal Server Error") + gaveUp},
	{name: "502", fault: status("sign", 502), rv: functionFailed,
		record: signing + said("502", "Bad Gateway") + gaveUp},
	{name: "503", fault: status("policies", 503), rv: functionFailed,
		record: asking + said("503", "Service Unavailable") + gaveUp},
	{name: "503 once each", fault: fault{Route: "any", Kind: "status", Status: 503, Count: 2}},
	{name: "504", fault: status("sign", 504), rv: functionFailed,
		record: signing + said("504", "Gateway Timeout") + gaveUp},

	// What the service does, or what is between it and us.
	{name: "delay", fault: fault{Route: "any", Kind: "delay", MS: 300, Count: -1},
		least: 600 * time.Millisecond, most: time.Second},
	{name: "hang", fault: always("sign", "hang"), env: hasty, rv: functionFailed, least: 6 * time.Second, most: 8 * time.Second,
		record: signing + "timed out: no answer within 2s: context deadline exceeded" +
			gaveUp + "; the time for one attempt is SIGNPATH_TIMEOUTS_HTTP_REQUEST"},
	{name: "hang once", fault: once("sign", "hang"), env: hasty, least: 2 * time.Second, most: 4 * time.Second},
	{name: "reset", fault: always("sign", "reset"), rv: functionFailed,
		record: signing + "{text}" + gaveUp}, // a reset or an end of file, by chance
	{name: "reset once", fault: once("policies", "reset")},
	{name: "garbage", fault: always("policies", "garbage"), rv: deviceError,
		record: asking + answer + "200 OK: not the JSON that was expected: 256 bytes that are no text"},
	{name: "garbage for a signature", fault: always("sign", "garbage"), rv: deviceError,
		record: signing + answer + "200 OK: not the JSON that was expected: 256 bytes that are no text"},
	{name: "web page", fault: always("policies", "html"), rv: deviceError,
		record: asking + answer + "200 OK: a web page instead of JSON (Network log-in)" +
			"; SIGNPATH_API_URL probably does not point at the API"},
	{name: "web page for a signature", fault: always("sign", "html"), rv: deviceError,
		record: signing + answer + "200 OK: a web page instead of JSON (Network log-in)" +
			"; SIGNPATH_API_URL probably does not point at the API"},
	{name: "truncated", fault: always("sign", "truncated"), rv: functionFailed,
		record: signing + "reading the answer after {number} bytes: {text}" + gaveUp},
	{name: "truncated list", fault: always("policies", "truncated"), rv: functionFailed,
		record: asking + "reading the answer after {number} bytes: {text}" + gaveUp},
	{name: "truncated once", fault: once("sign", "truncated")},

	// Answers that look right.
	{name: "wrong signature", fault: always("sign", "wrong-signature"), rv: deviceError, forgets: true,
		record: notByTheKey + "(RSA-PKCS1 SHA-256, 256 bytes)" + changed},
	{name: "wrong key", fault: always("sign", "wrong-key"), rv: deviceError, forgets: true,
		record: notByTheKey + "(RSA-PKCS1 SHA-256, 256 bytes)" + changed},
	{name: "wrong EC signature", key: "demo/p-256", fault: always("sign", "wrong-signature"), rv: deviceError, forgets: true,
		record: notByTheKey + "(ECDSA P-256, {number} bytes)" + changed},
	{name: "wrong EC key", key: "demo/p-256", fault: always("sign", "wrong-key"), rv: deviceError, forgets: true,
		record: notByTheKey + "(ECDSA P-256, {number} bytes)" + changed},

	// The way there.
	{name: "expired certificate", certificateEnd: time.Now().Add(-time.Hour), rv: generalError,
		record: asking + untrusted + "certificate has expired or is not yet valid: current time {text} is after {text}" +
			"; check this machine's clock; if it is right, the service at SIGNPATH_API_URL needs a new certificate"},
	{name: "foreign certificate", env: []string{"SIGNKIT_CA_FILE="}, rv: generalError,
		record: asking + untrusted + "certificate signed by unknown authority" +
			"; name the missing root certificate in SIGNKIT_CA_FILE, or check SIGNPATH_API_URL"},
	{name: "certificate of another host", before: otherHost, rv: generalError,
		record: asking + untrusted + "certificate is valid for 127.0.0.1, ::1, not 127.0.0.2" +
			"; check the host name in SIGNPATH_API_URL"},
	{name: "no such host", env: []string{"SIGNPATH_API_URL=https://signing.invalid/Api"},
		rv: functionFailed,
		record: asking + "dial tcp: lookup signing.invalid{text}" +
			gaveUp + "; check the host name in SIGNPATH_API_URL, and name resolution here"},
	{name: "nobody listens", before: (*ownService).stop, rv: functionFailed,
		record: asking + "dial tcp {address}: connect: connection refused" + gaveUp + noProxy},
	{name: "silent port", before: mute, env: hasty, rv: functionFailed, least: 6 * time.Second, most: 8 * time.Second,
		record: asking + "timed out: no answer within 2s: context deadline exceeded" + gaveUp + noProxy},
	{name: "proxy is down", env: []string{"http_proxy=127.0.0.1:1", "SIGNPATH_API_URL=https://signing.invalid/Api"},
		rv:     functionFailed,
		record: asking + "proxyconnect tcp: dial tcp {address}: connect: connection refused" + gaveUp + "; check http_proxy"},

	// Restarts.
	{name: "away for 5 s at the start", before: (*ownService).stop, during: comeBack, env: patient,
		least: away, most: 20 * time.Second},
	{name: "restart of 5 s while signing", fault: once("sign", "hang"), during: restartWhileSigning, env: patient,
		least: away, most: 20 * time.Second},
}

const (
	notByTheKey = "signing with {key}: the service's answer does not verify with the policy's public key "
	untrusted   = "tls: failed to verify certificate: x509: "
	noProxy     = "; check SIGNPATH_API_URL, and whether this machine needs a proxy (http_proxy)"
	changed     = " (signing request {uuid}); the policy's certificate may have changed since it was read"
)
