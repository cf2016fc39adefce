/*
 * A host with fork handlers of its own: they take a lock that its threads
 * hold while they call the module, and start the module again in the child
 * before the module's own handler runs. No fork waits for ever, a child is
 * initialized, and so is a grandchild.
 */
#include "host.h"

static pthread_mutex_t own = PTHREAD_MUTEX_INITIALIZER;
static volatile bool stop;
static CK_RV in_child;

static void prepare(void)
{
	pthread_mutex_lock(&own);
}

static void parent(void)
{
	pthread_mutex_unlock(&own);
}

static void child(void)
{
	pthread_mutex_unlock(&own);
	in_child = p11->C_Initialize(NULL);
}

static void *call(void *unused)
{
	(void)unused;
	CK_SLOT_INFO info;
	while (!stop) {
		pthread_mutex_lock(&own);
		OK(p11->C_GetSlotInfo(SLOT, &info));
		pthread_mutex_unlock(&own);
		sched_yield();
	}
	return NULL;
}

int main(int argc, char **argv)
{
	CHECK(pthread_atfork(prepare, parent, child) == 0); /* before the module's own, which are registered at load with musl */
	begin(argc, argv);
	initialize();
	pthread_t thread;
	CHECK(pthread_create(&thread, NULL, call, NULL) == 0);
	for (int i = 0; i < 20; i++) {
		pid_t pid = fork();
		CHECK(pid >= 0);
		if (pid == 0) {
			CK_INFO info;
			OK(in_child);
			OK(p11->C_GetInfo(&info));
			if (i == 0) {
				sign_once();
				pid_t grandchild = fork();
				if (grandchild == 0) {
					OK(in_child);
					sign_once();
					_exit(0);
				}
				succeed(grandchild);
			}
			_exit(0);
		}
		succeed(pid);
	}
	stop = true;
	pthread_join(thread, NULL);
	OK(p11->C_Finalize(NULL));
	return 0;
}
