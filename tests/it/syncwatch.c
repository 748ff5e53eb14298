/*
 * Writes down, in order, what a process does to the files of one folder, so that a test can tell what would be
 * missing after a power cut. Loaded with LD_PRELOAD. One event a line, fields parted by tabs:
 *
 *   W path place    bytes are about to be written (offset+length) or cut off (new length)
 *   s path, S path  a sync begins, has succeeded
 *   C path          an entry has appeared in its folder
 *   R old new       an entry has been renamed
 *   L old new       a file has got a second entry
 *   U path          an entry has gone
 *   A name          the process acknowledges (it tried to open a file named ACK-name)
 *   K path call     it is about to be killed, in this call
 *
 * SYNCWATCH_FOLDER   the folder          SYNCWATCH_TRACE   where the events go
 * SYNCWATCH_LIE      syncs answer yes and do nothing
 * SYNCWATCH_KILL_AT  SIGKILL at the n-th change     SYNCWATCH_TEAR   after half of it, if it is a write
 * SYNCWATCH_KILL_FROM  changes are counted once this name has been acknowledged
 * SYNCWATCH_KILL_OWN   and only those of the thread that acknowledges, whose number is the same each time
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static const char *folder, *kill_from;
static int trace = -1, lie, tear, own;
static long kill_at, changes, own_thread;
static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("SYNCWATCH_TRACE"), *number = getenv("SYNCWATCH_KILL_AT");
    folder = getenv("SYNCWATCH_FOLDER");
    lie = getenv("SYNCWATCH_LIE") != NULL;
    tear = getenv("SYNCWATCH_TEAR") != NULL;
    kill_at = number ? atol(number) : 0;
    kill_from = getenv("SYNCWATCH_KILL_FROM");
    own = getenv("SYNCWATCH_KILL_OWN") != NULL;
    if (path) trace = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static int watched(const char *path) {
    if (!folder || strncmp(path, folder, strlen(folder))) return 0;
    const char *name = strrchr(path, '/') + 1;
    return strncmp(name, "LOG", 3) && strcmp(name, "LOCK"); /* nobody recovers anything from these */
}

static void note(char what, const char *path, const char *rest) {
    char line[2 * PATH_MAX + 32];
    int length = snprintf(line, sizeof line, "%c\t%s\t%s\t%ld\n", what, path, rest, (long)syscall(SYS_gettid));
    if (trace >= 0) syscall(SYS_write, trace, line, length);
}
static void die(void) { syscall(SYS_kill, getpid(), SIGKILL); for (;;) pause(); }

/* Counts a change; does not return if it is the one to die at, unless half of it is to be done first. */
static int is_last(const char *path, const char *call) {
    pthread_mutex_lock(&one_at_a_time);
    int counts = kill_at && !kill_from && (!own || own_thread == syscall(SYS_gettid));
    int last = counts && ++changes == kill_at;
    pthread_mutex_unlock(&one_at_a_time);
    if (last) note('K', path, call);
    if (last && !(tear && !strcmp(call, "write"))) die();
    return last;
}

static void acknowledged(const char *name) {
    note('A', name, "");
    pthread_mutex_lock(&one_at_a_time);
    if (kill_from && !strcmp(name, kill_from)) { kill_from = NULL; own_thread = syscall(SYS_gettid); }
    pthread_mutex_unlock(&one_at_a_time);
}

static int path_of(int fd, char *path) {
    int kept = errno;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length > 0 ? length : 0] = 0;
    errno = kept;
    return watched(path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int opened(int (*real)(const char *, int, ...), const char *path, int flags, mode_t mode) {
    if (!watched(path)) return real(path, flags, mode);
    const char *name = strrchr(path, '/') + 1;
    if (!strncmp(name, "ACK-", 4)) { acknowledged(name + 4); errno = ENOENT; return -1; }
    int kept = errno, is_new = (flags & O_CREAT) && syscall(SYS_faccessat, AT_FDCWD, path, F_OK);
    errno = kept;
    int fd = is_new && is_last(path, "create") ? -1 : real(path, flags, mode);
    if (fd >= 0 && is_new) note('C', path, "");
    if (fd >= 0 && (flags & O_TRUNC) && !is_new) note('W', path, "0+0");
    return fd;
}

#define MODE va_list more; va_start(more, flags); \
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; va_end(more);
int open(const char *path, int flags, ...) { MODE return opened(REAL(open), path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE return opened(REAL(open64), path, flags, mode); }
int creat(const char *path, mode_t mode) { return open(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int openat(int at, const char *path, int flags, ...) {
    MODE return *path == '/' ? open(path, flags, mode) : REAL(openat)(at, path, flags, mode);
}
int openat64(int at, const char *path, int flags, ...) {
    MODE return *path == '/' ? open64(path, flags, mode) : REAL(openat64)(at, path, flags, mode);
}

/* A write of any kind: `whole` does it, `half` does half of it. */
#define WRITE(fd, offset, length, whole, half) \
    char path[PATH_MAX], at[48]; \
    if (!path_of(fd, path)) return whole; \
    snprintf(at, sizeof at, "%ld+%ld", (long)(offset), (long)(length)); \
    note('W', path, at); \
    if (is_last(path, "write")) { if (half < 0) {} die(); } \
    return whole;
#define HERE(fd) lseek(fd, 0, SEEK_CUR)
ssize_t write(int fd, const void *b, size_t n) { WRITE(fd, HERE(fd), n, REAL(write)(fd, b, n), REAL(write)(fd, b, n / 2)) }
ssize_t pwrite(int fd, const void *b, size_t n, off_t o) { WRITE(fd, o, n, REAL(pwrite)(fd, b, n, o), REAL(pwrite)(fd, b, n / 2, o)) }
ssize_t pwrite64(int fd, const void *b, size_t n, off64_t o) { WRITE(fd, o, n, REAL(pwrite64)(fd, b, n, o), REAL(pwrite64)(fd, b, n / 2, o)) }
ssize_t writev(int fd, const struct iovec *v, int n) { WRITE(fd, HERE(fd), n, REAL(writev)(fd, v, n), REAL(writev)(fd, v, n / 2)) }
ssize_t pwritev(int fd, const struct iovec *v, int n, off_t o) { WRITE(fd, o, n, REAL(pwritev)(fd, v, n, o), REAL(pwritev)(fd, v, n / 2, o)) }
/* Cutting a file to the length that it has, as RocksDB does at every end, changes nothing. */
#define CUT(name, fd, n) struct stat file; if (!fstat(fd, &file) && file.st_size == n) return 0; \
    WRITE(fd, n, 0, REAL(name)(fd, n), 0)
int ftruncate(int fd, off_t n) { CUT(ftruncate, fd, n) }
int ftruncate64(int fd, off64_t n) { CUT(ftruncate64, fd, n) }

static int synced(int (*real)(int), int fd) {
    char path[PATH_MAX];
    if (!path_of(fd, path)) return real(fd);
    is_last(path, "sync");
    if (lie) return 0;
    note('s', path, "");
    int outcome = real(fd);
    if (!outcome) note('S', path, "");
    return outcome;
}
int fsync(int fd) { return synced(REAL(fsync), fd); }
int fdatasync(int fd) { return synced(REAL(fdatasync), fd); }

/* A change of a folder's entries. */
#define ENTRY(what, about, rest, call) \
    if (!watched(about)) return call; \
    is_last(about, __func__); \
    int outcome = call; \
    if (!outcome) note(what, about, rest); \
    return outcome;
int rename(const char *old, const char *new) { ENTRY('R', old, new, REAL(rename)(old, new)) }
int renameat(int a, const char *old, int b, const char *new) { ENTRY('R', old, new, REAL(renameat)(a, old, b, new)) }
int mkdir(const char *path, mode_t mode) { ENTRY('C', path, "", REAL(mkdir)(path, mode)) }
int link(const char *old, const char *new) { ENTRY('L', old, new, REAL(link)(old, new)) }
int linkat(int a, const char *old, int b, const char *new, int f) { ENTRY('L', old, new, REAL(linkat)(a, old, b, new, f)) }
int unlink(const char *path) { ENTRY('U', path, "", REAL(unlink)(path)) }
