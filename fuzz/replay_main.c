/* Runs a fuzz target over every file of the folders named as arguments; a folder that is not there
 * is empty. Without libFuzzer this keeps every find fixed. */
#include "fuzz/fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static void replay(const char *dir, const char *name)
{
    char path[4096];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "rb");
    if (!file) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(1);
    }
    struct bytes content = {0};
    uint8_t block[4096];
    size_t got;
    while ((got = fread(block, 1, sizeof block, file)) > 0) {
        CHECK(bytes_append(&content, block, got) == 0);
    }
    fclose(file);
    printf("%s\n", path);
    fflush(stdout); /* The last line names the file that stopped us. */
    uint8_t *exact = fuzz_copy(content.data, content.len);
    LLVMFuzzerTestOneInput(exact, content.len);
    mem_free(exact);
    bytes_fini(&content);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        DIR *dir = opendir(argv[i]);
        struct dirent *entry;
        while (dir && (entry = readdir(dir))) {
            if (entry->d_name[0] != '.') {
                replay(argv[i], entry->d_name);
            }
        }
        if (dir) {
            closedir(dir);
        }
    }
    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    return 0;
}
