/* Writing to a socket, and setting its options, without going through the event loop.
 *
 * The socket is non-blocking and belongs to the event loop's transport. Where this is not possible (Windows)
 * PICOWS_CAN_SEND is 0 and nobody calls the functions.
 */
#ifndef PICOWS_SOCKET_IO_H
#define PICOWS_SOCKET_IO_H

#include "platform.h"

#if defined(_WIN32)
enum { PICOWS_CAN_SEND = 0 };

PICOWS_INLINE int picows_no_sigpipe(int fd) { (void)fd; return 0; }
PICOWS_INLINE int picows_has_unread(int fd) { (void)fd; return 0; }
PICOWS_INLINE int picows_tune(int fd, int quick_ack) { (void)fd, (void)quick_ack; return 0; }
PICOWS_INLINE ptrdiff_t picows_send_two(int fd, const void *one, ptrdiff_t size, const void *two, ptrdiff_t size_two)
{
    (void)fd, (void)one, (void)size, (void)two, (void)size_two;
    return -1;
}
PICOWS_INLINE ptrdiff_t picows_send(int fd, const void *data, ptrdiff_t size)
{
    (void)fd, (void)data, (void)size;
    return -1;
}

#else
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

enum { PICOWS_CAN_SEND = 1 };

#ifndef MSG_NOSIGNAL
#  define MSG_NOSIGNAL 0
#endif

/* SIGPIPE must never fire: where send(2) has no flag for that (macOS) the socket has an option. */
PICOWS_INLINE int picows_no_sigpipe(int fd)
{
#ifdef SO_NOSIGPIPE
    int on = 1;
    return setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
#else
    (void)fd;
    return 0;
#endif
}

/* No Nagle: a frame is never worth waiting for. `quick_ack` is the option that acknowledges at once, or -1.
 * Returns: 0, also for what is not TCP; -1 with errno. */
PICOWS_INLINE int picows_tune(int fd, int quick_ack)
{
    struct sockaddr_storage name;
    socklen_t size = sizeof name;
    const int on = 1;

    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on)) {
        const int error = errno;
        if (!getsockname(fd, (struct sockaddr *)&name, &size) && name.ss_family != AF_INET && name.ss_family != AF_INET6) {
            return 0;
        }
        errno = error;
        return -1;
    }
    return quick_ack < 0 ? 0 : setsockopt(fd, IPPROTO_TCP, quick_ack, &on, sizeof on);
}

/* Returns: 1 if bytes have arrived that nobody has read, else 0. */
PICOWS_INLINE int picows_has_unread(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

PICOWS_INLINE ptrdiff_t picows_send_error(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -1;
}

/* Returns: how many bytes the socket took; 0 if it takes none just now; -1 if the connection is broken. */
PICOWS_INLINE ptrdiff_t picows_send(int fd, const void *data, ptrdiff_t size)
{
    ptrdiff_t sent;
    do {
        sent = send(fd, data, (size_t)size, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? picows_send_error() : sent;
}

/* Send two pieces as one. */
PICOWS_INLINE ptrdiff_t picows_send_two(int fd, const void *one, ptrdiff_t size, const void *two, ptrdiff_t size_two)
{
    struct iovec pieces[2] = {{(void *)one, (size_t)size}, {(void *)two, (size_t)size_two}};
    struct msghdr message;
    ptrdiff_t sent;

    memset(&message, 0, sizeof message);
    message.msg_iov = pieces;
    message.msg_iovlen = 2;
    do {
        sent = sendmsg(fd, &message, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? picows_send_error() : sent;
}
#endif

#endif
