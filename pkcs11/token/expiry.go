package token

import "time"

// expirySoon is how long before its end a certificate is worth a warning.
const expirySoon = 30 * 24 * time.Hour

// warnExpiry records that a key's certificate ends soon or has ended, once for
// each process and key. Signing goes on: a time-stamp may make the signature
// last, and only who verifies can judge an old certificate.
func (t *Token) warnExpiry(key Key) {
	certificate := key.Certificate()
	if certificate == nil || time.Until(certificate.NotAfter) > expirySoon {
		return
	}
	if _, told := t.told.LoadOrStore(key.ID(), true); told {
		return
	}
	end := certificate.NotAfter.UTC().Format(time.DateOnly)
	if time.Now().After(certificate.NotAfter) {
		t.log.Warn("the certificate has expired; renew it in the signing service", "key", key.ID(), "end", end)
		return
	}
	t.log.Warn("the certificate expires soon; renew it in the signing service", "key", key.ID(), "end", end)
}
