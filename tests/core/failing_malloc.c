/* Preloaded by test_allocation.py: the n-th allocation fails, on demand.
 *
 * arm(n, everyone, for_good): from now on count the allocations of cwarp_core's own
 * modules, or of everyone, and let the n-th fail, or the n-th and all after it.
 * disarm(): how many were counted.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);

static long seen, nth;
static int armed, of_everyone, until_disarmed;

void arm(long n, int everyone, int for_good)
{
    seen = 0;
    nth = n;
    of_everyone = everyone;
    until_disarmed = for_good;
    armed = 1;
}

long disarm(void)
{
    armed = 0;
    return seen;
}

static int fails(void *caller)
{
    Dl_info where;
    if (!armed)
        return 0;
    if (!of_everyone
        && !(dladdr(caller, &where) && strstr(where.dli_fname, "/cwarp_core/")))
        return 0;
    if (++seen < nth)
        return 0;
    armed = until_disarmed;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t size)
{
    return fails(__builtin_return_address(0)) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return fails(__builtin_return_address(0)) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    return fails(__builtin_return_address(0)) ? NULL : __libc_realloc(old, size);
}
