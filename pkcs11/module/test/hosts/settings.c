/*
 * What settings change, a line each: a read/write session, how many certificates a search sees, how many of them issued the
 * key's own, and the signature. With a third argument so many threads sign at the same time.
 */
#include "host.h"

#define CKA_ISSUER 0x81UL
#define CKA_SUBJECT 0x101UL
#define CKO_CERTIFICATE 1UL
#define CKF_RW_SESSION 2UL
#define MOST 16

static CK_ULONG find(CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, CK_ULONG size, CK_OBJECT_HANDLE *first)
{
	CK_OBJECT_HANDLE found[MOST] = {0};
	CK_ULONG count = 0;
	if (p11->C_FindObjectsInit(session, template, size) == CKR_OK) {
		OK(p11->C_FindObjects(session, found, MOST, &count));
		OK(p11->C_FindObjectsFinal(session));
	}
	*first = found[0];
	return count;
}

static void show_certificates(CK_SESSION_HANDLE session)
{
	CK_ULONG class = CKO_CERTIFICATE, issuers = 0;
	CK_BYTE issuer[1024];
	CK_OBJECT_HANDLE leaf, first;
	CK_ATTRIBUTE all[] = {{CKA_CLASS, &class, sizeof class}};
	printf("certificates %lu\n", find(session, all, 1, &first));
	CK_ATTRIBUTE own[] = {{CKA_CLASS, &class, sizeof class}, {CKA_ID, (void *)key_name, strlen(key_name)}};
	if (find(session, own, 2, &leaf) == 1) {
		CK_ATTRIBUTE name = {CKA_ISSUER, issuer, sizeof issuer};
		OK(p11->C_GetAttributeValue(session, leaf, &name, 1));
		CK_ATTRIBUTE by_subject[] = {{CKA_CLASS, &class, sizeof class}, {CKA_SUBJECT, issuer, name.ulValueLen}};
		issuers = find(session, by_subject, 2, &first);
	}
	printf("issuers %lu\n", issuers);
}

static void *sign_in_thread(void *unused)
{
	sign_once();
	return unused;
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	initialize();
	CK_SESSION_HANDLE session = open_session(), writable;
	CK_ULONG flags = CKF_SERIAL_SESSION | CKF_RW_SESSION;
	printf("read/write 0x%lx\n", p11->C_OpenSession(SLOT, flags, NULL, NULL, &writable));
	log_in(session);
	show_certificates(session);
	fflush(stdout);
	pthread_t threads[MOST];
	int count = argc > 3 ? atoi(argv[3]) : 0;
	CHECK(count <= MOST);
	if (count == 0)
		sign_once();
	for (int i = 0; i < count; i++)
		CHECK(pthread_create(&threads[i], NULL, sign_in_thread, NULL) == 0);
	for (int i = 0; i < count; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	OK(p11->C_Finalize(NULL));
	return 0;
}
