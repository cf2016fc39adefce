/* Loaded and unloaded 200 times, with and without C_Finalize, with forks in between: nothing stays (argv[3]: also on an old kernel). */
#include "kernel.h"

static int descriptors(void)
{
	int count = 0;
	DIR *directory = opendir("/proc/self/fd");
	CHECK(directory != NULL);
	while (readdir(directory) != NULL)
		count++;
	closedir(directory);
	return count;
}

/* memory is the size of all that is mapped, in pages. */
static long memory(void)
{
	long pages = 0;
	FILE *file = fopen("/proc/self/statm", "r");
	CHECK(file != NULL && fscanf(file, "%ld", &pages) == 1);
	fclose(file);
	return pages;
}

int main(int argc, char **argv)
{
	CHECK(argc == 3 || argc == 4);
	key_name = argv[2];
	if (argc == 4)
		deny_wipe();
	int before = descriptors();
	long mapped = 0;
	for (int i = 0; i < 200; i++) {
		void *library = load_module(argv[1]);
		if (i % 4 != 0)
			OK(p11->C_Initialize(NULL));
		if (i == 101)
			sign_once();
		if (i % 2 == 0)
			p11->C_Finalize(NULL);
		CHECK(dlclose(library) == 0);
		if (i == 110)
			mapped = memory(); /* by now the C library has all that it keeps */
		if (i % 10 == 0) {
			pid_t child = fork();
			if (child == 0)
				_exit(0);
			succeed(child);
		}
	}
	CHECK(descriptors() == before);
	CHECK(memory() == mapped);
	return 0;
}
