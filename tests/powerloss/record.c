// What a process writes below RECORD_HOME and says on its TCP sockets, in order, as a preloaded library.
//
// Each record is a header and its data, appended to RECORD_DIR/<pid>.record. A write is recorded when it has returned
// and a send before it begins, both under one lock; a sync at its begin and again at its end, without the lock. So the
// record never says that something was on disk, or unsaid, when it was not: what a sync covers was written before its
// begin, and what was said after its end could rely on it.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { OPEN = 1, WRITE, TRUNCATE, RENAME, UNLINK, SYNC_BEGIN, SYNC_END, SEND, MKDIR, LINK };

struct header {
    uint32_t kind;
    uint32_t number;  // of a file (its open), a sync or a local port
    uint64_t offset;  // of a write; the length after a truncate; 1: the open made the file
    uint64_t length;  // of the data that follow: bytes, or a path, or two paths with a 0 between
};

#define FDS 65536
static uint32_t files[FDS];  // by file descriptor: the number of its open, 0: of no interest
static uint8_t appends[FDS];
static uint32_t opens, syncs;
static int out = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (found == NULL) abort();
    return found;
}

static void raw_write(const void *data, size_t length) {
    const char *at = data;
    while (length > 0) {
        ssize_t done = syscall(SYS_write, out, at, length);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) abort();
        at += done;
        length -= (size_t)done;
    }
}

static void record(enum kind kind, uint32_t number, uint64_t offset, const void *data, size_t length) {
    if (out < 0) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%d.record", getenv("RECORD_DIR"), getpid());
        out = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (out < 0) abort();
    }
    struct header header = {kind, number, offset, length};
    raw_write(&header, sizeof header);
    raw_write(data, length);
}

// A path below RECORD_HOME that matters: not SQLite's index of the log, which is made anew from it.
static int wanted(const char *path) {
    const char *home = getenv("RECORD_HOME");
    if (home == NULL || strncmp(path, home, strlen(home)) != 0) return 0;
    size_t length = strlen(path);
    return length < 4 || strcmp(path + length - 4, "-shm") != 0;
}

static int opened(int fd, const char *path, int flags, int existed) {
    int error = errno;
    if (fd < 0 || fd >= FDS || !wanted(path)) return fd;
    pthread_mutex_lock(&lock);
    files[fd] = ++opens;
    appends[fd] = (flags & O_APPEND) != 0;
    record(OPEN, files[fd], !existed, path, strlen(path));
    if ((flags & O_TRUNC) != 0 && existed) record(TRUNCATE, files[fd], 0, "", 0);
    pthread_mutex_unlock(&lock);
    errno = error;
    return fd;
}

static int exists(const char *path) {
    struct stat stat;
    return syscall(SYS_newfstatat, AT_FDCWD, path, &stat, 0) == 0;
}

#define OPEN_AS(name, ...)                                                 \
    int existed = exists(path);                                            \
    mode_t mode = 0;                                                       \
    if ((flags & (O_CREAT | O_TMPFILE)) != 0) {                            \
        va_list list;                                                      \
        va_start(list, flags);                                             \
        mode = va_arg(list, mode_t);                                       \
        va_end(list);                                                      \
    }                                                                      \
    return opened(REAL(name)(__VA_ARGS__, flags, mode), path, flags, existed)

int open(const char *path, int flags, ...) { OPEN_AS(open, path); }
int open64(const char *path, int flags, ...) { OPEN_AS(open64, path); }
int openat(int at, const char *path, int flags, ...) { OPEN_AS(openat, at, path); }
int openat64(int at, const char *path, int flags, ...) { OPEN_AS(openat64, at, path); }

int close(int fd) {
    if (fd >= 0 && fd < FDS && files[fd] != 0) {
        pthread_mutex_lock(&lock);
        files[fd] = 0;
        pthread_mutex_unlock(&lock);
    }
    return REAL(close)(fd);
}

static uint32_t file_of(int fd) { return fd >= 0 && fd < FDS ? files[fd] : 0; }

static void wrote(int fd, uint64_t offset, const void *data, ssize_t length) {
    int error = errno;
    if (length > 0) record(WRITE, files[fd], offset, data, (size_t)length);
    errno = error;
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
    if (file_of(fd) == 0) return REAL(pwrite)(fd, data, length, offset);
    pthread_mutex_lock(&lock);
    ssize_t done = REAL(pwrite)(fd, data, length, offset);
    wrote(fd, (uint64_t)offset, data, done);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) {
    return pwrite(fd, data, length, offset);
}

static void said(int fd, const void *data, size_t length) {
    struct sockaddr_in name = {0};
    socklen_t size = sizeof name;
    int error = errno;
    if (out >= 0 && getsockname(fd, (struct sockaddr *)&name, &size) == 0 && name.sin_family == AF_INET) {
        pthread_mutex_lock(&lock);
        record(SEND, ntohs(name.sin_port), (uint64_t)fd, data, length);
        pthread_mutex_unlock(&lock);
    }
    errno = error;
}

ssize_t write(int fd, const void *data, size_t length) {
    if (file_of(fd) == 0) {
        said(fd, data, length);
        return REAL(write)(fd, data, length);
    }
    pthread_mutex_lock(&lock);
    off_t offset = lseek(fd, 0, appends[fd] ? SEEK_END : SEEK_CUR);
    ssize_t done = REAL(write)(fd, data, length);
    wrote(fd, (uint64_t)offset, data, done);
    pthread_mutex_unlock(&lock);
    return done;
}

static void said_all(int fd, const struct iovec *parts, size_t count) {
    for (size_t i = 0; i < count; i++) said(fd, parts[i].iov_base, parts[i].iov_len);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    if (file_of(fd) != 0) {
        ssize_t sum = 0;
        for (int i = 0; i < count; i++) {
            ssize_t done = write(fd, parts[i].iov_base, parts[i].iov_len);
            if (done < 0) return sum > 0 ? sum : done;
            sum += done;
        }
        return sum;
    }
    said_all(fd, parts, (size_t)count);
    return REAL(writev)(fd, parts, count);
}

ssize_t send(int fd, const void *data, size_t length, int flags) {
    said(fd, data, length);
    return REAL(send)(fd, data, length, flags);
}

ssize_t sendto(int fd, const void *data, size_t length, int flags, const struct sockaddr *to, socklen_t size) {
    said(fd, data, length);
    return REAL(sendto)(fd, data, length, flags, to, size);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    said_all(fd, message->msg_iov, message->msg_iovlen);
    return REAL(sendmsg)(fd, message, flags);
}

int ftruncate(int fd, off_t length) {
    if (file_of(fd) == 0) return REAL(ftruncate)(fd, length);
    pthread_mutex_lock(&lock);
    int done = REAL(ftruncate)(fd, length);
    if (done == 0) record(TRUNCATE, files[fd], (uint64_t)length, "", 0);
    pthread_mutex_unlock(&lock);
    return done;
}

int ftruncate64(int fd, off64_t length) { return ftruncate(fd, length); }

// Not supported by the recording: whoever calls it then writes without it.
int fallocate(int fd, int mode, off_t offset, off_t length) {
    if (file_of(fd) == 0) return REAL(fallocate)(fd, mode, offset, length);
    errno = EOPNOTSUPP;
    return -1;
}

int fallocate64(int fd, int mode, off64_t offset, off64_t length) { return fallocate(fd, mode, offset, length); }

static void record_two(enum kind kind, const char *from, const char *to) {
    char both[8192];
    size_t length = (size_t)snprintf(both, sizeof both, "%s", from) + 1;
    length += (size_t)snprintf(both + length, sizeof both - length, "%s", to);
    record(kind, 0, 0, both, length);
}

int rename(const char *from, const char *to) {
    if (!wanted(from) && !wanted(to)) return REAL(rename)(from, to);
    pthread_mutex_lock(&lock);
    int done = REAL(rename)(from, to);
    if (done == 0) record_two(RENAME, from, to);
    pthread_mutex_unlock(&lock);
    return done;
}

int linkat(int at, const char *from, int to_at, const char *to, int flags) {
    if (!wanted(from) && !wanted(to)) return REAL(linkat)(at, from, to_at, to, flags);
    pthread_mutex_lock(&lock);
    int done = REAL(linkat)(at, from, to_at, to, flags);
    if (done == 0) record_two(LINK, from, to);
    pthread_mutex_unlock(&lock);
    return done;
}

int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

int unlink(const char *path) {
    if (!wanted(path)) return REAL(unlink)(path);
    pthread_mutex_lock(&lock);
    int done = REAL(unlink)(path);
    if (done == 0) record(UNLINK, 0, 0, path, strlen(path));
    pthread_mutex_unlock(&lock);
    return done;
}

int mkdir(const char *path, mode_t mode) {
    int done = REAL(mkdir)(path, mode);
    if (done == 0 && wanted(path)) {
        pthread_mutex_lock(&lock);
        record(MKDIR, 0, 0, path, strlen(path));
        pthread_mutex_unlock(&lock);
    }
    return done;
}

static uint32_t sync_begins(int fd) {
    uint32_t file = file_of(fd);
    if (file == 0) return 0;
    pthread_mutex_lock(&lock);
    uint32_t number = ++syncs;
    record(SYNC_BEGIN, number, file, "", 0);
    pthread_mutex_unlock(&lock);
    return number;
}

static int sync_ends(uint32_t number, int done) {
    int error = errno;
    if (number != 0 && done == 0) {
        pthread_mutex_lock(&lock);
        record(SYNC_END, number, 0, "", 0);
        pthread_mutex_unlock(&lock);
    }
    errno = error;
    return done;
}

int fsync(int fd) {
    uint32_t number = sync_begins(fd);
    return sync_ends(number, REAL(fsync)(fd));
}

int fdatasync(int fd) {
    uint32_t number = sync_begins(fd);
    return sync_ends(number, REAL(fdatasync)(fd));
}
