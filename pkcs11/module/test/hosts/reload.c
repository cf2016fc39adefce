/* Loaded and unloaded 200 times, with and without C_Finalize, with forks in between: nothing stays. */
#include "host.h"

#include <dirent.h>

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

int main(int argc, char **argv)
{
	CHECK(argc == 3);
	key_name = argv[2];
	int before = descriptors();
	for (int i = 0; i < 200; i++) {
		void *library = load_module(argv[1]);
		if (i % 4 != 0)
			OK(p11->C_Initialize(NULL));
		if (i == 101)
			sign_once();
		if (i % 2 == 0)
			p11->C_Finalize(NULL);
		CHECK(dlclose(library) == 0);
		if (i % 10 == 0) {
			pid_t child = fork();
			if (child == 0)
				_exit(0);
			succeed(child);
		}
	}
	CHECK(descriptors() == before);
	return 0;
}
