/* Gives each file to a target once, where there is no libFuzzer: `target FILE ...`. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LARGEST = 1 << 20 };

int main(int argc, char **argv)
{
    static uint8_t read_into[LARGEST];

    for (int i = 1; i < argc; i++) {
        FILE *file = fopen(argv[i], "rb");
        if (file == NULL) {
            printf("cannot open %s\n", argv[i]);
            return 2;
        }
        const size_t size = fread(read_into, 1, LARGEST, file);
        uint8_t *exact = malloc(size ? size : 1);
        for (size_t at = 0; at < size; at++) {
            exact[at] = read_into[at];
        }
        fclose(file);
        printf("%s\n", argv[i]);
        fflush(stdout);
        LLVMFuzzerTestOneInput(exact, size);
        free(exact);
    }
    return 0;
}
