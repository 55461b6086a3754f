/* Tests of the C kernels, run by test_kernels.py.
 *
 *     test_kernels list               the sets of this build, best first, those that do not run here in brackets
 *     test_kernels NAME [quick]       test one set
 *
 * Exit status 1 and a line that says what went wrong, or 0.
 */
#define _DEFAULT_SOURCE
#include "test_mask.h"
#include "test_utf8.h"

static int list_sets(void)
{
    size_t count;
    const picows_kernels *sets = picows_kernels_list(&count);

    for (size_t i = 0; i < count; i++) {
        picows_kernels_status status;
        const picows_kernels *found = picows_kernels_select(sets[i].name, &status);
        CHECK(found == (status == PICOWS_KERNELS_FOUND ? &sets[i] : NULL), "%s", sets[i].name);
        CHECK(found != NULL || status == PICOWS_KERNELS_UNSUPPORTED, "%s", sets[i].name);
        printf(found == NULL ? "[%s]\n" : "%s\n", sets[i].name);
    }
    return 0;
}

static void test_selection(void)
{
    picows_kernels_status status;

    CHECK(picows_kernels_select("AVX2", &status) == NULL && status == PICOWS_KERNELS_UNKNOWN, "one spelling");
    CHECK(picows_kernels_select("", &status) == NULL && status == PICOWS_KERNELS_UNKNOWN, "no name is no set");
    CHECK(picows_kernels_select(NULL, NULL) != NULL, "there is always one that runs");
    CHECK(strcmp(picows_kernels_select("generic", NULL)->name, "generic") == 0, "it is what was asked for");
#if PICOWS_X86_64 && !defined(__APPLE__)
    const int has_512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
                        && __builtin_cpu_supports("avx512vl");
    const char *best = has_512 ? "avx512" : __builtin_cpu_supports("avx2") ? "avx2" : "sse2";
    CHECK(strcmp(picows_kernels_select(NULL, NULL)->name, best) == 0, "the compiler's library says %s", best);
#endif
}

int main(int argc, char **argv)
{
    if (argc >= 2 && strcmp(argv[1], "list") == 0) {
        return list_sets();
    }
    const picows_kernels *kernels = argc >= 2 ? picows_kernels_select(argv[1], NULL) : NULL;
    CHECK(kernels != NULL, "which set? there is \"list\"");
    test_selection();
    test_mask(kernels);
    test_utf8(kernels, argc >= 3 && strcmp(argv[2], "quick") == 0);
    return 0;
}
