cpdef ws_broadcast(transports, int msg_type, message)
