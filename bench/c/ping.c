// Asks an RTSP server for OPTIONS every 5 ms and reports how long the answers took: a hold of its event loop shows.
// ping rtsp://127.0.0.1:port/path SECONDS
#include "common.h"

enum { EVERY_MS = 5 };

int main(int argc, char **argv) {
    if (argc != 3) return fprintf(stderr, "ping rtsp://127.0.0.1:port/path SECONDS\n"), 2;
    struct sockaddr_in to;
    char host[128], text[600], answer[4096];
    parse_url(argv[1], &to, host, sizeof host);
    urgent();
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (void *)&to, sizeof to) < 0) fatal(argv[1]);
    nodelay(fd);
    samples_t delays = {0};
    int64_t begin = now_ns(), end = begin + (int64_t)(atof(argv[2]) * SECOND), next = begin, worst = 0, worst_at = 0;
    for (int sequence = 1; next < end; sequence++) {
        sleep_until(next);
        int64_t asked = now_ns();
        int n = snprintf(text, sizeof text, "OPTIONS %s RTSP/1.0\r\nCSeq: %d\r\nUser-Agent: bench\r\n\r\n", argv[1], sequence);
        if (send(fd, text, (size_t)n, MSG_NOSIGNAL) != n) fatal("send");
        size_t have = 0;
        do {
            ssize_t got = recv(fd, answer + have, sizeof answer - 1 - have, 0);
            if (got <= 0) fatal("the server closed the connection");
            have += (size_t)got;
        } while (!memmem(answer, have, "\r\n\r\n", 4) && have < sizeof answer - 1);
        int64_t now = now_ns();
        sample(&delays, (double)(now - asked) / MS);
        if (now - asked > worst) worst = now - asked, worst_at = asked;
        next = next + EVERY_MS * MS > now ? next + EVERY_MS * MS : now;
    }
    printf("{");
    print_samples("answer_ms", &delays);
    printf(", \"worst_after_seconds\": %.3f}\n", (double)(worst_at - begin) / SECOND);
    return 0;
}
