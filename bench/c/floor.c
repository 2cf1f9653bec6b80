// The floor: sends a recorded stream to everybody in a flat loop of plain calls, with no protocol at all.
// floor TRACE PORT picture|MILLISECONDS        plain send() of one merged buffer to each TCP socket
// floor TRACE PORT udp                         UDP_SEGMENT, one sendmmsg() for up to 1024 receivers of a frame
#include "common.h"

enum { MAX_PEERS = 8192, BATCH = 1024, SOUND_WAITS_MS = 40, RETRY_MS = 2 };

typedef struct {
    int fd;
    uint8_t *left; // what a full socket did not take
    size_t size;
} peer_t;

static peer_t peers[MAX_PEERS];
static int count, behind;
static uint64_t short_writes;
static int listener;

static void drop(int i) {
    close(peers[i].fd);
    if (peers[i].size) behind--;
    free(peers[i].left);
    peers[i] = peers[--count];
    peers[count] = (peer_t){0};
}

static void keep(peer_t *p, const uint8_t *data, size_t size) {
    if (!size) return;
    if (!p->size) behind++;
    short_writes++;
    p->left = realloc(p->left, p->size + size);
    memcpy(p->left + p->size, data, size);
    p->size += size;
}

static void retry(void) {
    for (int i = 0; behind && i < count; i++) {
        peer_t *p = &peers[i];
        if (!p->size) continue;
        ssize_t n = send(p->fd, p->left, p->size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN) {
            drop(i--);
        } else if (n > 0) {
            p->size -= (size_t)n;
            memmove(p->left, p->left + n, p->size);
            if (!p->size) behind--;
        }
    }
}

static void flush_all(const uint8_t *data, size_t size) {
    if (behind) retry();
    for (int i = 0; i < count; i++) {
        peer_t *p = &peers[i];
        if (p->size) {
            keep(p, data, size);
            continue;
        }
        ssize_t n = send(p->fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n == (ssize_t)size) continue;
        if (n < 0 && errno != EAGAIN) drop(i--);
        else keep(p, data + (n > 0 ? n : 0), size - (size_t)(n > 0 ? n : 0));
    }
}

static void take_new_peers(int64_t now) { // at a flush, at most each 20 ms: joins are not what is measured here
    static int64_t next;
    if (now < next) return;
    next = now + 20 * MS;
    int fd;
    while (count < MAX_PEERS && (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        nodelay(fd);
        peers[count++] = (peer_t){.fd = fd};
    }
}

static void pause_until(int64_t when) {
    while (behind && now_ns() + RETRY_MS * MS < when) {
        sleep_until(now_ns() + RETRY_MS * MS);
        retry();
    }
    sleep_until(when);
}

static void run_tcp(trace_t *t, int window) { // window < 0: sound rides with the next picture
    static uint8_t pending[8 << 20];
    size_t size = 0;
    int64_t begin = now_ns(), flush_at = 0;
    for (uint64_t loop = 0;; loop++) {
        for (uint32_t i = 0; i < t->count; i++) {
            record_t *r = &t->records[i];
            int64_t due = begin + (int64_t)(loop * t->duration + r->time) * MS;
            if (size && flush_at < due) {
                pause_until(flush_at);
                flush_all(pending, size);
                size = 0;
            }
            pause_until(due);
            if (r->stamp) write_stamp(r->stamp);
            if (!size) {
                take_new_peers(due);
                flush_at = due + (window < 0 ? SOUND_WAITS_MS : window) * MS;
            }
            memcpy(pending + size, r->data, r->size);
            size += r->size;
            if (window == 0 || (window < 0 && r->kind == KIND_VIDEO)) {
                flush_all(pending, size);
                size = 0;
            }
        }
    }
}

// ---- UDP ----

static struct sockaddr_in receivers[2][MAX_PEERS]; // sound, pictures
static int receiving[2];

static void take_new_receivers(int fd) {
    uint8_t what[16];
    struct sockaddr_in from;
    socklen_t size = sizeof from;
    while (recvfrom(fd, what, sizeof what, MSG_DONTWAIT, (void *)&from, &size) > 0) {
        int k = what[0] == 'V';
        if (receiving[k] < MAX_PEERS) receivers[k][receiving[k]++] = from;
    }
}

static void send_to_all(int fd, const record_t *r) {
    static struct mmsghdr batch[BATCH];
    int k = r->kind == KIND_VIDEO, done = 0;
    struct iovec data = {r->data, r->size};
    union {
        char room[CMSG_SPACE(sizeof(uint16_t))];
        struct cmsghdr align;
    } control = {0};
    struct cmsghdr *c = &control.align;
    c->cmsg_level = SOL_UDP;
    c->cmsg_type = UDP_SEGMENT;
    c->cmsg_len = CMSG_LEN(sizeof(uint16_t));
    memcpy(CMSG_DATA(c), &r->segment, sizeof r->segment);
    while (done < receiving[k]) {
        int n = receiving[k] - done < BATCH ? receiving[k] - done : BATCH;
        for (int i = 0; i < n; i++)
            batch[i].msg_hdr = (struct msghdr){.msg_name = &receivers[k][done + i], .msg_namelen = sizeof receivers[0][0],
                                               .msg_iov = &data, .msg_iovlen = 1, .msg_control = control.room,
                                               .msg_controllen = r->size > r->segment ? sizeof control.room : 0};
        int sent = sendmmsg(fd, batch, (unsigned)n, MSG_NOSIGNAL);
        done += sent > 0 ? sent : 1; // a receiver that is gone (ECONNREFUSED) is passed over
    }
}

static void run_udp(trace_t *t, int fd) {
    int64_t begin = now_ns();
    for (uint64_t loop = 0;; loop++) {
        for (uint32_t i = 0; i < t->count; i++) {
            record_t *r = &t->records[i];
            sleep_until(begin + (int64_t)(loop * t->duration + r->time) * MS);
            if (r->stamp) write_stamp(r->stamp);
            if (i % 4 == 0) take_new_receivers(fd);
            send_to_all(fd, r);
        }
    }
}

static void report(int sig) {
    (void)sig;
    char text[64];
    int n = snprintf(text, sizeof text, "short writes: %llu\n", (unsigned long long)short_writes);
    _exit(write(2, text, (size_t)n) < 0);
}

int main(int argc, char **argv) {
    if (argc != 4) return fprintf(stderr, "floor TRACE PORT picture|MS|udp\n"), 2;
    trace_t t = load_trace(argv[1]);
    bool udp = !strcmp(argv[3], "udp");
    raise_nofile();
    signal(SIGTERM, report);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[2]))};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = socket(AF_INET, udp ? SOCK_DGRAM : SOCK_STREAM | SOCK_NONBLOCK, 0);
    int one = 1, buffer = 4 << 20;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (udp) setsockopt(listener, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    if (bind(listener, (void *)&at, sizeof at) || (!udp && listen(listener, 4096))) fatal("listen");
    printf("listening\n");
    fflush(stdout);
    if (udp) run_udp(&t, listener);
    else run_tcp(&t, strcmp(argv[3], "picture") ? atoi(argv[3]) : -1);
}
