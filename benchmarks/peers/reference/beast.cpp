/* Boost.Beast as its users would write it: one thread, completion handlers, one read and one write at a time.
 *
 * Takes the part of the process under test in the rows over TCP, except for broadcasts: `role=` echo, client, server or
 * receive. No compression and no timeouts, as everyone here; a client's write buffer is 64 KiB instead of 4, since Beast
 * makes one system call per buffer of masked payload. A receiver looks at the payload in Beast's buffer.
 */
#include <boost/asio.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/version.hpp>
#include <boost/beast/websocket.hpp>

#include <csignal>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bench.h"

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace websocket = beast::websocket;
using tcp = asio::ip::tcp;
using Executor = asio::io_context::executor_type;     /* named, not asio's default, which is any executor: less to call */
using Socket = asio::basic_stream_socket<tcp, Executor>;
using Acceptor = asio::basic_socket_acceptor<tcp, Executor>;
using Stream = websocket::stream<Socket>;
using beast::error_code;

static const char facts[] =
    "{\"library\": \"Boost.Beast in Boost " BOOST_LIB_VERSION "\", \"implementation\": \"C++, compiler " __VERSION__ "\", "
    "\"transport\": \"asio::basic_stream_socket\", \"loop\": \"io_context\"}";

static void check(error_code error, const char *what)
{
    if (error) {
        fprintf(stderr, "%s: %s\n", what, error.message().c_str());
        exit(1);
    }
}

/* One WebSocket and the buffer that it reads into. */
struct Connection : std::enable_shared_from_this<Connection> {
    Stream stream;
    beast::flat_buffer buffer;

    explicit Connection(Socket &&socket) : stream(std::move(socket))
    {
        stream.set_option(websocket::stream_base::timeout{
            websocket::stream_base::none(), websocket::stream_base::none(), false});
        stream.read_message_max(BENCH_MESSAGE_LIMIT);
        stream.auto_fragment(false);
        stream.binary(true);
        stream.next_layer().set_option(tcp::no_delay(true));
    }
};

/* The server: echoes each message when it is complete, then reads the next. */
struct Echo : Connection {
    using Connection::Connection;

    std::shared_ptr<Echo> self() { return std::static_pointer_cast<Echo>(shared_from_this()); }

    void start()
    {
        stream.async_accept([me = self()](error_code error) {
            check(error, "accept");
            me->read();
        });
    }

    void read()
    {
        stream.async_read(buffer, [me = self()](error_code error, std::size_t) {
            if (!error) {                   /* the end otherwise: the peer's CLOSE was answered by async_read */
                me->write();
            }
        });
    }

    void write()
    {
        stream.text(stream.got_text());
        stream.async_write(buffer.cdata(), [me = self()](error_code error, std::size_t) {
            if (!error) {
                me->buffer.consume(me->buffer.size());
                me->read();
            }
        });
    }
};

static void accept_next(Acceptor &acceptor)
{
    acceptor.async_accept([&acceptor](error_code error, Socket socket) {
        check(error, "accept");
        std::make_shared<Echo>(std::move(socket))->start();
        accept_next(acceptor);
    });
}

/* What both clients have in common; the upgrade may block, it is not measured. */
struct Client : Connection {
    explicit Client(Socket &&socket) : Connection(std::move(socket)) { stream.write_buffer_bytes(64 << 10); }

    void open(std::function<void()> then)
    {
        stream.async_handshake("127.0.0.1", "/", [then](error_code error) {
            check(error, "handshake");
            then();
        });
    }
};

struct PingPong : Client {
    std::vector<unsigned char> message;
    bench_timer timer;

    PingPong(Socket &&socket, std::size_t size) : Client(std::move(socket)), message(size), timer(bench_start(size))
    {
        bench_random(message.data(), size);
    }

    void start() { open([this] { write(); }); }

    void write()
    {
        stream.async_write(asio::buffer(message), [this](error_code error, std::size_t) {
            check(error, "write");
            read();
        });
    }

    void read()
    {
        stream.async_read(buffer, [this](error_code error, std::size_t) {
            check(error, "read");
            buffer.consume(buffer.size());
            if (!bench_round_trip(&timer, facts)) {
                _exit(0);
            }
            write();
        });
    }
};

struct Receiver : Client {
    bench_marks marks;

    explicit Receiver(Socket &&socket) : Client(std::move(socket)), marks() {}

    void start()
    {
        open([this] {
            marks = bench_connected();
            read();
        });
    }

    void read()
    {
        stream.async_read(buffer, [this](error_code error, std::size_t size) {
            check(error, "read");
            buffer.consume(size);
            if (!bench_message(&marks, size, facts)) {
                _exit(0);
            }
            read();
        });
    }
};

int main(int argc, char **argv)
{
    bench_begin(argc, argv);
    std::signal(SIGUSR1, SIG_IGN);      /* the memory row asks for a garbage collection */
    const std::string role = bench_option("role", "");
    asio::io_context context(1);
    const auto host = asio::ip::address_v4::loopback();
    Acceptor acceptor(context);
    int port = static_cast<int>(bench_number("port"));

    if (role == "server" || role == "echo") {
        acceptor.open(tcp::v4());
        acceptor.bind({host, 0});
        acceptor.listen(BENCH_BACKLOG);
        accept_next(acceptor);
        port = acceptor.local_endpoint().port();
    }
    if (role == "server") {
        bench_serving(port, facts);
        context.run();
    }
    Socket socket(context);
    socket.connect({host, static_cast<unsigned short>(port)});
    if (role == "receive") {
        auto receiver = std::make_shared<Receiver>(std::move(socket));
        receiver->start();
        context.run();
    } else {
        auto client = std::make_shared<PingPong>(std::move(socket), static_cast<std::size_t>(bench_number("size")));
        client->start();
        context.run();
    }
}
