// Publishes the prepared clip at real-time pace, in a loop, with the time of sending written into its pictures.
// publisher CLIP.tags rtmp://127.0.0.1:port/app/stream | flv://127.0.0.1:port   (flv: bare FLV tags on a socket)
#include "common.h"

static int fd;
static uint8_t inbox[65536];

static void send_all(const void *data, size_t size) {
    const uint8_t *p = data;
    while (size) {
        ssize_t n = send(fd, p, size, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) fatal("the server closed the publisher");
        p += n;
        size -= (size_t)n;
    }
}

static void read_exactly(uint8_t *to, size_t size) {
    while (size) {
        ssize_t n = recv(fd, to, size, 0);
        if (n <= 0) fatal("the server closed the publisher");
        to += n;
        size -= (size_t)n;
    }
}

// ---- the few AMF0 values that commands need ----

static uint8_t *put_key(uint8_t *p, const char *text) {
    size_t n = strlen(text);
    be(p, n, 2);
    memcpy(p + 2, text, n);
    return p + 2 + n;
}
static uint8_t *put_string(uint8_t *p, const char *text) {
    *p = 2;
    return put_key(p + 1, text);
}
static uint8_t *put_number(uint8_t *p, double value) {
    uint64_t bits;
    memcpy(&bits, &value, 8);
    *p = 0;
    be(p + 1, bits, 8);
    return p + 9;
}

static size_t out_chunk = 128;

static void send_message(int csid, int type, uint32_t stream, uint32_t time, const uint8_t *body, size_t size) {
    static uint8_t out[1 << 20];
    uint8_t *p = out;
    bool extended = time >= 0xFFFFFF;
    *p++ = (uint8_t)csid;
    be(p, extended ? 0xFFFFFF : time, 3);
    be(p + 3, size, 3);
    p[6] = (uint8_t)type;
    for (int i = 0; i < 4; i++) p[7 + i] = (uint8_t)(stream >> 8 * i);
    p += 11;
    if (extended) be(p, time, 4), p += 4;
    for (size_t at = 0; at < size; at += out_chunk) {
        size_t n = size - at < out_chunk ? size - at : out_chunk;
        if (at) {
            *p++ = (uint8_t)(0xC0 | csid);
            if (extended) be(p, time, 4), p += 4;
        }
        memcpy(p, body + at, n);
        p += n;
    }
    send_all(out, (size_t)(p - out));
}

static void wait_for(const char *word) { // answers are few and small: looking for their text is enough
    size_t have = 0;
    while (!memmem(inbox, have, word, strlen(word))) {
        if (memmem(inbox, have, "_error", 6) || have == sizeof inbox) fatal("the server refused to publish");
        ssize_t n = recv(fd, inbox + have, sizeof inbox - have, 0);
        if (n <= 0) fatal("the server closed the publisher");
        have += (size_t)n;
    }
}

static void rtmp_start(const char *host, const char *path) {
    uint8_t hello[1537] = {3}, answer[3073];
    for (int i = 9; i < 1537; i++) hello[i] = (uint8_t)(i * 13);
    send_all(hello, sizeof hello);
    read_exactly(answer, sizeof answer);
    send_all(answer + 1, 1536);
    char app[128], url[256];
    const char *slash = strrchr(path, '/');
    snprintf(app, sizeof app, "%.*s", (int)(slash - path), path);
    snprintf(url, sizeof url, "rtmp://%s/%s", host, app);
    uint8_t body[1024], *p = body;
    p = put_number(put_string(p, "connect"), 1);
    *p++ = 3;
    p = put_string(put_key(p, "app"), app);
    p = put_string(put_key(p, "type"), "nonprivate");
    p = put_string(put_key(p, "flashVer"), "FMLE/3.0 (compatible; bench)");
    p = put_string(put_key(p, "tcUrl"), url);
    memcpy(p, "\0\0\x09", 3);
    send_message(3, 20, 0, 0, body, (size_t)(p + 3 - body));
    wait_for("_result");
    uint8_t size[4];
    be(size, 60000, 4);
    send_message(2, 1, 0, 0, size, 4);
    out_chunk = 60000;
    p = put_number(put_string(body, "createStream"), 2);
    *p++ = 5;
    send_message(3, 20, 0, 0, body, (size_t)(p - body));
    wait_for("_result");
    p = put_number(put_string(body, "publish"), 3);
    *p++ = 5;
    p = put_string(put_string(p, slash + 1), "live");
    send_message(3, 20, 1, 0, body, (size_t)(p - body));
    wait_for("NetStream.Publish.Start");
    p = put_string(put_string(body, "@setDataFrame"), "onMetaData");
    *p++ = 8;
    be(p, 6, 4);
    p += 4;
    p = put_number(put_key(p, "width"), 1280);
    p = put_number(put_key(p, "height"), 720);
    p = put_number(put_key(p, "framerate"), 30);
    p = put_number(put_key(p, "videocodecid"), 7);
    p = put_number(put_key(p, "audiocodecid"), 10);
    p = put_number(put_key(p, "audiosamplerate"), 48000);
    memcpy(p, "\0\0\x09", 3);
    send_message(4, 18, 1, 0, body, (size_t)(p + 3 - body));
}

static void send_flv(const record_t *r, uint32_t time) {
    static uint8_t out[1 << 20];
    out[0] = r->kind;
    be(out + 1, r->size, 3);
    be(out + 4, time & 0xFFFFFF, 3);
    out[7] = (uint8_t)(time >> 24);
    memset(out + 8, 0, 3);
    memcpy(out + 11, r->data, r->size);
    be(out + 11 + r->size, 11 + r->size, 4);
    send_all(out, r->size + 15);
}

int main(int argc, char **argv) {
    if (argc != 3) return fprintf(stderr, "publisher CLIP.tags URL\n"), 2;
    struct sockaddr_in to;
    char host[128];
    const char *path = parse_url(argv[2], &to, host, sizeof host);
    bool flv = !strncmp(argv[2], "flv:", 4);
    trace_t clip = load_trace(argv[1]);
    urgent();
    fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (void *)&to, sizeof to) < 0) fatal(argv[2]);
    nodelay(fd);
    if (!flv) rtmp_start(host, path);
    printf("publishing\n");
    fflush(stdout);
    int64_t begin = now_ns() + 20 * MS;
    for (uint32_t loop = 0;; loop++) {
        for (uint32_t i = 0; i < clip.count; i++) {
            record_t *r = &clip.records[i];
            if (loop && r->flags & FLAG_CONFIG) continue;
            uint32_t time = loop * clip.duration + r->time;
            sleep_until(begin + time * MS);
            if (r->stamp) write_stamp(r->stamp);
            if (flv) send_flv(r, time);
            else send_message(r->kind == KIND_VIDEO ? 6 : 4, r->kind, 1, time, r->data, r->size);
            ssize_t n;
            while ((n = recv(fd, inbox, sizeof inbox, MSG_DONTWAIT)) > 0) {}
            if (n == 0) fatal("the server closed the publisher");
        }
    }
}
