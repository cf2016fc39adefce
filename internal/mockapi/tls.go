package mockapi

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"net"
	"time"
)

// serverTLS issues a server certificate for the hosts, valid until end (zero:
// a year). Its authority is kept in the state folder, so that clients' CA files
// stay valid over a restart.
func serverTLS(state *stateDir, hosts []string, end time.Time) (*tls.Config, []byte, error) {
	caKey, err := state.key("tls-ca", keyECDSA, 256)
	if err != nil {
		return nil, nil, err
	}
	ca, err := state.certificate("tls-ca", caTemplate("Mock TLS CA"), issuer{key: caKey}, caKey)
	if err != nil {
		return nil, nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := serverTemplate(hosts)
	template.SerialNumber = newSerial()
	if !end.IsZero() {
		template.NotBefore, template.NotAfter = end.Add(-year), end
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, key.Public(), caKey)
	if err != nil {
		return nil, nil, err
	}
	cert := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key} // whoever trusts the root has it
	return &tls.Config{
		Certificates: []tls.Certificate{cert},
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"h2", "http/1.1"},
	}, pemCertificate(ca), nil
}

// serverTemplate names the hosts, and always the loopback names.
func serverTemplate(hosts []string) *x509.Certificate {
	now := time.Now().Add(-backdate)
	t := &x509.Certificate{
		Subject: subject("Mock signing service"), NotBefore: now, NotAfter: now.Add(year),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, h := range append(hosts, "localhost", "127.0.0.1", "::1") {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	return t
}
