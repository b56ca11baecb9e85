# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_fanfare_global_optspecs
    string join \n config= admin-token-file= api-key-file= origins= hosts= trusted-proxies= tls-certificates= tls-client-ca= hsts-max-age-s= drain-ms-max= receive-buffers= spin-us= zerocopy-bytes-min= connections-max= connections-per-address-max= handshakes-max= handshakes-per-address-max= handshake-ms-max= head-bytes-max= head-fields-max= idle-ms-max= ping-interval-ms= stall-ms-max= unsent-bytes-max= api-connections-max= retry-after-s= refresh-ms-max= topics-per-connection-max= commands-per-message-max= answers-bytes-max= token-checks-waiting-max= rosters-bytes-max= message-bytes-max= message-ms-max= inbound-messages-per-s-max= inbound-bytes-per-s-max= publish-wait-ms-max= batch-lines-max= batch-bytes-max= delivery-acks-max= idempotency-ms-max= idempotency-keys-max= api-items-max= deflate-level= deflate-bytes-min= topics= anonymous= token-keys= token-audience= token-issuer= token-cookie= apps= topics-max= log-bytes-max= ahead-bytes-max= retain-messages-max= retain-bytes-max= retain-ms-max= history-page-messages-max= history-page-bytes-max= pace-ms= lag-bytes-max= store= store-sync-ms= store-read-bytes-max= otlp-endpoint= otlp-headers-file= trace-sample-ratio= trace-ms-max= cluster-nats= cluster-user= cluster-password-file= cluster-token-file= cluster-credentials-file= cluster-nkey-file= cluster-ca-file= cluster-cert-file= cluster-key-file= cluster-stream= cluster-streams= cluster-prefix= cluster-replicas= cluster-topic-messages-max= cluster-bytes-max= cluster-age-ms-max= cluster-duplicates-ms= cluster-tail-check-ms= cluster-answer-ms-max= cluster-propose-ms-max= cluster-proposed-bytes-max= cluster-node= cluster-secret-file= listen= listen-tls= admin= api= metrics= proxy-header= tls-client-auth= tls-version-min= admin-tls= cores= log= log-format= ring-handshakes= zerocopy= defer-accept= keepalive= centrifugo= event-streams= mercure= presence= partial-bytes-max= api-error-mode= deflate= log-bytes-total-max= keep= lag-policy= cluster-tls= cluster-storage= cluster-ready= h/help V/version
end

function __fish_fanfare_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_fanfare_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_fanfare_using_subcommand
    set -l cmd (__fish_fanfare_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c fanfare -n "__fish_fanfare_needs_command" -l config -d 'TOML file with settings; options on the command line overrule it' -r -F
complete -c fanfare -n "__fish_fanfare_needs_command" -l admin-token-file -d 'File whose trimmed content, as it is at the time, is the token that requests to admin and api must bear [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_needs_command" -l api-key-file -d 'File whose trimmed content, as it is at the time, is the key that requests to the server API may bear [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_needs_command" -l origins -d 'Origins whose pages may connect; if empty, only pages from the host itself [default: none] [allowed: scheme://host[:port], as https://example.com or https://*.example.com; same-host; null or file:// for what sends that; * for any; repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l hosts -d 'Names in Host that are answered to, beside localhost and IP addresses; if empty, any from other machines [default: none] [allowed: names without port, as live.example.com or *.example.com; * for any; repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l trusted-proxies -d 'Proxies in front, whose word on the address of a client is taken [default: none] [allowed: an IP address or IP/BITS, as 127.0.0.1, 10.0.0.0/8 or fd00::/8; repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l tls-certificates -d 'Certificates that are shown, each by the names that it is for, the first where no other fits; their files are read again with each reload, and when they have changed [default: none] [allowed: tables with chain_file, a certificate and those that vouch for it (PEM), and key_file, its key; repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l tls-client-ca -d 'File with the certificates of the authorities (PEM) that sign those of clients, which have to show one then; read again as the others [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_needs_command" -l hsts-max-age-s -d 'For how long browsers that came over TLS are to use nothing else for the host (Strict-Transport-Security); 0 does not say it [default: 0] [allowed: 0 to 315360000 seconds]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l drain-ms-max -d 'How long stopping waits for subscribers to be sent what is still theirs [default: 5000] [allowed: 0 to 600000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l receive-buffers -d 'Receive buffers of 16 KiB each per core [default: 512] [allowed: a power of two, 16 to 32768]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l spin-us -d 'How long a core goes on looking for something to do before it sleeps, with a whole processor to itself; 0 is not at all [default: 0] [allowed: 0 to 1000000 microseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l zerocopy-bytes-min -d 'Sends of at least this size are tried without a copy [default: 64KiB] [allowed: 1 to 1 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l connections-max -d 'Connections in total; beyond it the answer is 503 with Retry-After [default: 100000] [allowed: 1 to 10000000]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l connections-per-address-max -d 'Connections from one IP address [default: 10000] [allowed: 1 to 10000000]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l handshakes-max -d 'Connections whose opening handshake is not finished yet [default: 4096] [allowed: 1 to 1000000]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l handshakes-per-address-max -d 'The same from one IP address [default: 1024] [allowed: 1 to 1000000]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l handshake-ms-max -d 'Time for the whole opening handshake [default: 5000] [allowed: 10 to 600000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l head-bytes-max -d 'Size of an HTTP request head; beyond it the answer is 431 [default: 32KiB] [allowed: 256 to 1 MiB]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l head-fields-max -d 'Header fields of an HTTP request; beyond it the answer is 431 [default: 128] [allowed: 8 to 4096]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l idle-ms-max -d 'A connection that has been silent for this long is closed [default: 120000] [allowed: 20 to 86400000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l ping-interval-ms -d 'A connection that has been silent for this long is asked whether it lives [default: 30000] [allowed: 10 to 86400000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l stall-ms-max -d 'How long a connection\'s socket may take nothing of what it is sent before the lag policy applies [default: 60000] [allowed: 20 to 86400000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l unsent-bytes-max -d 'Bytes of one connection that the kernel may hold unsent; the rest waits in the shared log [default: 256KiB] [allowed: 4 KiB to 1 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l api-connections-max -d 'Connections that ask the server API on addresses of listen; beyond it the answer is 503 with Retry-After [default: 256] [allowed: 1 to 100000]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l retry-after-s -d 'Seconds in the Retry-After header of a 503 answer [default: 2] [allowed: 1 to 3600 seconds]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l refresh-ms-max -d 'How long a client of Centrifugo\'s protocol may take to send another token when one has expired [default: 25000] [allowed: 0 to 86400000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l topics-per-connection-max -d 'Topics that one connection may follow, where its protocol knows more than one [default: 128] [allowed: 1 to 1000000]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l commands-per-message-max -d 'Commands of Centrifugo\'s protocol in one message; beyond it the connection is closed with 3501 [default: 4096] [allowed: 1 to 1000000]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l answers-bytes-max -d 'Size of the answers to commands that wait for one client of Centrifugo\'s protocol, beyond which it is closed with 3008, and of those to a batch of its server API, beyond which the rest is not done [default: 16MiB] [allowed: 64 KiB to 1 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l token-checks-waiting-max -d 'Tokens that wait to be checked by a helper thread; beyond it a token waits with its connection [default: 4096] [allowed: 1 to 1000000]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l rosters-bytes-max -d 'Size of the lists of members that are on their way to clients of apps which join presence channels; beyond it they wait for one another, up to publish_wait_ms_max (1 s at least), and are then refused [default: 64MiB] [allowed: 64 KiB to 64 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l message-bytes-max -d 'Size of one message; beyond it the connection is closed with 1009 [default: 1MiB] [allowed: 1 to 64 MiB]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l message-ms-max -d 'Time for one message to arrive; beyond it the connection is closed with 1008 [default: 60000] [allowed: 20 to 86400000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l inbound-messages-per-s-max -d 'Messages per second from one connection; 0 is no limit [default: 1000000] [allowed: 0 to 1000000000]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l inbound-bytes-per-s-max -d 'Bytes per second from one connection; 0 is no limit [default: 1GiB] [allowed: 0 to 1 TiB]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l publish-wait-ms-max -d 'How long a message waits for room or for cores that are behind, if it comes over HTTP or by a command of Centrifugo\'s protocol; then it is refused [default: 5000] [allowed: 0 to 60000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l batch-lines-max -d 'Lines of a batch; beyond it the answer is 413 [default: 10000] [allowed: 1 to 1000000]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l batch-bytes-max -d 'Size of a batch; beyond it the answer is 413 [default: 8MiB] [allowed: 1 KiB to 1 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l delivery-acks-max -d 'Publishers that may wait at a time to be told how a message was delivered; beyond it the answer is 503 [default: 64] [allowed: 1 to 10000]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l idempotency-ms-max -d 'How long an answer is kept for the request with the same Idempotency-Key, or the message with the same idempotency_key [default: 300000] [allowed: 0 to 86400000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l idempotency-keys-max -d 'Answers that are kept so, of at most 16 MiB together; then the oldest go early [default: 65536] [allowed: 1 to 1000000]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l api-items-max -d 'Calls in a batch of Centrifugo\'s server API, channels of a broadcast, clients that a disconnect spares; beyond it the answer is 413 [default: 4096] [allowed: 1 to 1000000]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l deflate-level -d 'From 1, fast, to 9, small [default: 4] [allowed: 1 to 9]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l deflate-bytes-min -d 'Messages below this size go out as they are [default: 256] [allowed: 0 to 1 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l topics -d 'Who may do what with the topics of a pattern, and what holds for them in place of the settings; the first that matches decides [default: none] [allowed: tables with match, a pattern; subscribe, publish, presence, history, each anyone, token or nobody; retain_messages_max, retain_bytes_max, retain_ms_max, keep, pace_ms and lag_policy as the settings; latest, presence_list, joins, deflate, chat, page, each true or false; repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l anonymous -d 'What those without a token may do where no rule says it [default: none] [allowed: tables with match, a pattern, and subscribe, history (true if not given), publish, presence (false if not given); repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l token-keys -d 'Files with the keys that tokens are checked with: PEM, a JWK or a set, or a secret; read again with each reload [default: none] [allowed: a path, as /etc/fanfare/issuer.pem, or behind an algorithm, as HS256:/etc/fanfare/secret; repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l token-audience -d 'A token must be for one of these (aud); if empty, that is not looked at [default: none] [allowed: words; repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l token-issuer -d 'A token must come from one of these (iss); if empty, that is not looked at [default: none] [allowed: words; repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l token-cookie -d 'Cookie that may bear the token of pages whose origin is listed [default: none] [allowed: the name of a cookie]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l apps -d 'Apps of the Pusher Channels protocol: who publishes to the topics of a prefix over /apps and lets clients of /app in; their secrets are read again with each reload [default: none] [allowed: tables with id, key, and secret_files, one or two; prefix (none if not given), client_events (false), client_events_per_s_max (10), connections_max (0, no limit), event_bytes_max (10KiB), event_channels_max (100), batch_events_max (10), presence_members_max (100), presence_user_bytes_max (1KiB), webhooks (none), tables with url and events (all); repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l topics-max -d 'Topics that exist at one time [default: 200000] [allowed: 1 to 10000000]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l log-bytes-max -d 'Size of the log of one topic [default: 16MiB] [allowed: 64 KiB to 16 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l ahead-bytes-max -d 'How far publishers may be ahead of any core; then they are read from no further for a while [default: 1MiB] [allowed: 1 KiB to 16 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l retain-messages-max -d 'Messages that a topic keeps for those who come back [default: 1000] [allowed: 0 to 100000000]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l retain-bytes-max -d 'Bytes that a topic keeps for those who come back [default: 1MiB] [allowed: 0 to 1 TiB]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l retain-ms-max -d 'How long a topic keeps a message for those who come back, and is known to them when it keeps none [default: 300000] [allowed: 0 to 2592000000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l history-page-messages-max -d 'Messages in one page of history, as clients and the server API ask for it [default: 1000] [allowed: 1 to 1000000]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l history-page-bytes-max -d 'Size of one page of history, which ends with the message that reaches it [default: 1MiB] [allowed: 1 to 1 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l pace-ms -d 'A topic\'s subscribers are sent what is new at most this often, all of it together; 0 is at once [default: 0] [allowed: 0 to 60000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l lag-bytes-max -d 'How far a subscriber may fall behind before the lag policy applies [default: 8MiB] [allowed: 1 KiB to 16 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l store -d 'Folder in which the topics are kept that are to be kept on disk; made with mode 0700 if there is none [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_needs_command" -l store-sync-ms -d 'How long what is written to the store may wait to be safe from a loss of power, unless a publisher waits for it (ack=stored) [default: 100] [allowed: 0 to 60000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l store-read-bytes-max -d 'Size of the history that is being read from the store for those who come back; beyond it they wait for one another [default: 64MiB] [allowed: 4 MiB to 64 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l otlp-endpoint -d 'Collector that is told of traces (OTLP over HTTP), as http://127.0.0.1:4318; none is no traces [default: none] [allowed: http://HOST:PORT or https://HOST:PORT, with the path before /v1/traces if there is one]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l otlp-headers-file -d 'File with further headers of requests to the collector, a line Name: value for each, as what it asks for of a secret [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_needs_command" -l trace-sample-ratio -d 'Part of all messages and opening handshakes that is traced; a message with a sampled traceparent is in any case, one with another traceparent never [default: 0] [allowed: 0 to 1, as 0.01]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l trace-ms-max -d 'How long a traced message is followed to the sockets of its topic\'s subscribers [default: 10000] [allowed: 10 to 600000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l cluster-nats -d 'NATS servers whose JetStream keeps topics for several machines; others of their cluster are learnt. None is no cluster [default: none] [allowed: nats://HOST:PORT or tls://HOST:PORT, without user and password; repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l cluster-user -d 'User that this node is to the NATS servers; its password is in password_file [default: none] [allowed: a word]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l cluster-password-file -d 'File whose trimmed content is the password of user [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_needs_command" -l cluster-token-file -d 'File whose trimmed content is a token for the NATS servers, in place of user and password [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_needs_command" -l cluster-credentials-file -d 'File of credentials for the NATS servers as nsc writes it, with a JWT and a seed, in place of user and password [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_needs_command" -l cluster-nkey-file -d 'File with the seed of an NKey for the NATS servers, in place of user and password [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_needs_command" -l cluster-ca-file -d 'File with the certificates of the authorities (PEM) that sign those of the NATS servers, in place of the system\'s [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_needs_command" -l cluster-cert-file -d 'File with this node\'s certificate (PEM), for NATS servers that ask for one [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_needs_command" -l cluster-key-file -d 'File with the private key (PEM) of that certificate [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_needs_command" -l cluster-stream -d 'Name of the stream; with several, -0, -1 and so on follow [default: FANFARE] [allowed: letters, digits, - and _, 64 at most]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l cluster-streams -d 'Streams among which the topics are divided; never to be changed while the streams live [default: 1] [allowed: 1 to 64]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l cluster-prefix -d 'What the cluster\'s subjects begin with; several clusters may share NATS servers under several [default: fanfare] [allowed: words of letters, digits, - and _ with dots between them]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l cluster-replicas -d 'NATS servers that each keep every message: 1, 3 or 5; for a stream that is made [default: 1] [allowed: 1 to 5]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l cluster-topic-messages-max -d 'Messages of each topic in a stream that is made; no rule may retain more; 0 is no limit [default: 10000] [allowed: 0 to 100000000]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l cluster-bytes-max -d 'Size of a stream that is made, beyond which it takes no more messages; 0 is no limit [default: 10GiB] [allowed: 0 to 1024 TiB]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l cluster-age-ms-max -d 'How long a stream that is made keeps a message; no rule may retain for longer; 0 is no limit [default: 86400000] [allowed: 0 to 315360000000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l cluster-duplicates-ms -d 'How long a stream that is made knows a message that is sent again [default: 300000] [allowed: 300000 to 604800000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l cluster-tail-check-ms -d 'How often the stream is asked whether a topic\'s newest message has been heard [default: 5000] [allowed: 100 to 600000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l cluster-answer-ms-max -d 'How long an answer of the NATS servers is awaited before they are asked again [default: 2000] [allowed: 100 to 60000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l cluster-propose-ms-max -d 'How long a message may wait to be stored, with the NATS servers away or not; then its publisher gets an error [default: 10000] [allowed: 100 to 600000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l cluster-proposed-bytes-max -d 'Size of all messages that wait to be stored; beyond it publishers wait [default: 64MiB] [allowed: 64 KiB to 16 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l cluster-node -d 'Name of this node, for people; if none, that of the host [default: none] [allowed: a word]' -r -f
complete -c fanfare -n "__fish_fanfare_needs_command" -l cluster-secret-file -d 'File whose trimmed content all nodes and nobody else know, by which they believe one another; without it whoever may read the stream\'s configuration can pass for a node [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_needs_command" -l listen -d 'Addresses that subscribers, publishers and browsers connect to [default: 127.0.0.1:8000] [allowed: IP:PORT, as 127.0.0.1:8000 or [::]:8000, unix:/PATH, or off; repeatable]' -r -f -a "off\t''"
complete -c fanfare -n "__fish_fanfare_needs_command" -l listen-tls -d 'The same over TLS, for wss:// and https://; needs tls_certificates [default: off] [allowed: IP:PORT, as 127.0.0.1:8000 or [::]:8000, unix:/PATH, or off; repeatable]' -r -f -a "off\t''"
complete -c fanfare -n "__fish_fanfare_needs_command" -l admin -d 'Addresses for everything else: health, metrics, topics, publishing, upgrades [default: 127.0.0.1:8001] [allowed: IP:PORT, as 127.0.0.1:8000 or [::]:8000, unix:/PATH, or off; repeatable]' -r -f -a "off\t''"
complete -c fanfare -n "__fish_fanfare_needs_command" -l api -d 'Addresses for health, topics, publishing and the server API alone; may be among the others\', those of listen and listen_tls too [default: off] [allowed: IP:PORT, as 127.0.0.1:8000 or [::]:8000, unix:/PATH, or off; repeatable]' -r -f -a "off\t''"
complete -c fanfare -n "__fish_fanfare_needs_command" -l metrics -d 'Addresses for health and metrics alone, read without a token; may be among the others\' [default: off] [allowed: IP:PORT, as 127.0.0.1:8000 or [::]:8000, unix:/PATH, or off; repeatable]' -r -f -a "off\t''"
complete -c fanfare -n "__fish_fanfare_needs_command" -l proxy-header -d 'How the trusted proxies tell it; with proxy-protocol (v1 or v2) they all must [default: none] [allowed: none, proxy-protocol, x-forwarded-for]' -r -f -a "none\t''
proxy-protocol\t''
x-forwarded-for\t''"
complete -c fanfare -n "__fish_fanfare_needs_command" -l tls-client-auth -d 'Whether clients without a certificate are let in all the same; a wrong one never is [default: required] [allowed: required, optional]' -r -f -a "required\t''
optional\t''"
complete -c fanfare -n "__fish_fanfare_needs_command" -l tls-version-min -d 'The oldest version of TLS that is spoken [default: 1.2] [allowed: 1.2, 1.3]' -r -f -a "1.2\t''
1.3\t''"
complete -c fanfare -n "__fish_fanfare_needs_command" -l admin-tls -d 'Whether the addresses of admin, api and metrics speak TLS, with the same certificates; Unix sockets never do [default: off] [allowed: on, off]' -r -f -a "on\t''
off\t''"
complete -c fanfare -n "__fish_fanfare_needs_command" -l cores -d 'Threads, each with its own listener and rings; may exceed the processors [default: auto] [allowed: 1 to 256, or auto for one per processor]' -r -f -a "auto\t''"
complete -c fanfare -n "__fish_fanfare_needs_command" -l log -d 'What is logged to standard error [default: info] [allowed: error, warn, info, debug, trace, off, or a list as info,fanfare::core=debug]' -r -f -a "off\t''
error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c fanfare -n "__fish_fanfare_needs_command" -l log-format -d 'Form of the log lines; auto is the journal with its fields where there is one, else text [default: auto] [allowed: auto, text, json, journal]' -r -f -a "auto\t''
text\t''
json\t''
journal\t''"
complete -c fanfare -n "__fish_fanfare_needs_command" -l ring-handshakes -d 'Whether connections are accepted and opened inside a core\'s ring, without a descriptor or a task of their own; auto does so from Linux 6.8 on, where neither TLS is spoken nor proxies say whose they are [default: auto] [allowed: auto, never]' -r -f -a "auto\t''
never\t''"
complete -c fanfare -n "__fish_fanfare_needs_command" -l zerocopy -d 'Whether large sends skip the kernel\'s copy; auto stops where the kernel copies anyway [default: auto] [allowed: auto, always, never]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c fanfare -n "__fish_fanfare_needs_command" -l defer-accept -d 'Whether the kernel keeps a new connection until its first bytes are there, for a second at most (TCP_DEFER_ACCEPT), which makes handshakes cheaper; with off, who connects and says nothing is seen at once [default: on] [allowed: on, off]' -r -f -a "on\t''
off\t''"
complete -c fanfare -n "__fish_fanfare_needs_command" -l keepalive -d 'How it is asked: with a WebSocket ping, or by the kernel with TCP\'s keepalive, which wakes nobody; clients of Centrifugo\'s and Pusher\'s protocols and streams of events have the pings of theirs either way [default: ping] [allowed: ping, kernel]' -r -f -a "ping\t''
kernel\t''"
complete -c fanfare -n "__fish_fanfare_needs_command" -l centrifugo -d 'Centrifugo\'s client protocol on /connection/websocket [default: on] [allowed: on, off]' -r -f -a "on\t''
off\t''"
complete -c fanfare -n "__fish_fanfare_needs_command" -l event-streams -d 'Server-Sent Events: a topic on its own path, many on /events [default: on] [allowed: on, off]' -r -f -a "on\t''
off\t''"
complete -c fanfare -n "__fish_fanfare_needs_command" -l mercure -d 'Mercure\'s protocol (0.x) on /.well-known/mercure: streams of exact topics, and updates of one topic where the server API is [default: on] [allowed: on, off]' -r -f -a "on\t''
off\t''"
complete -c fanfare -n "__fish_fanfare_needs_command" -l presence -d 'Whether clients may ask who follows a topic; on costs some 200 bytes for each who does [default: off] [allowed: on, off]' -r -f -a "on\t''
off\t''"
complete -c fanfare -n "__fish_fanfare_needs_command" -l partial-bytes-max -d 'Size of all half-received messages together [default: auto] [allowed: 1 KiB to 64 GiB, or auto for 256 MiB, but at most 1/8 of the memory that the process may use]' -r -f -a "auto\t''"
complete -c fanfare -n "__fish_fanfare_needs_command" -l api-error-mode -d 'Where errors of Centrifugo\'s server API are told: in the body of an answer with status 200, or by a status too [default: body] [allowed: body, transport]' -r -f -a "body\t''
transport\t''"
complete -c fanfare -n "__fish_fanfare_needs_command" -l deflate -d 'permessage-deflate; takeover lets clients refer to earlier messages, at 32 KiB each [default: on] [allowed: on, takeover, off]' -r -f -a "on\t''
takeover\t''
off\t''"
complete -c fanfare -n "__fish_fanfare_needs_command" -l log-bytes-total-max -d 'Size of the logs of all topics together [default: auto] [allowed: 64 KiB to 1 TiB, or auto for 1 GiB, but at most 1/4 of the memory that the process may use]' -r -f -a "auto\t''"
complete -c fanfare -n "__fish_fanfare_needs_command" -l keep -d 'What keeps a topic\'s messages: memory; the folder named by store as well, so that history outlives the process; or the cluster\'s NATS servers [default: memory] [allowed: memory, disk, cluster]' -r -f -a "memory\t''
disk\t''
cluster\t''"
complete -c fanfare -n "__fish_fanfare_needs_command" -l lag-policy -d 'A subscriber that lags is closed with 1013, or with a notice goes on behind the newest message (skip) or with it (latest) [default: close] [allowed: close, skip, latest]' -r -f -a "close\t''
skip\t''
latest\t''"
complete -c fanfare -n "__fish_fanfare_needs_command" -l cluster-tls -d 'TLS to the NATS servers: where the address (tls://) or the server asks for it or a file below is named, or always [default: auto] [allowed: auto, on]' -r -f -a "auto\t''
on\t''"
complete -c fanfare -n "__fish_fanfare_needs_command" -l cluster-storage -d 'Where the NATS servers keep messages; for a stream that is made [default: file] [allowed: file, memory]' -r -f -a "file\t''
memory\t''"
complete -c fanfare -n "__fish_fanfare_needs_command" -l cluster-ready -d 'Whether /readyz answers 503 while the NATS servers are away [default: off] [allowed: on, off]' -r -f -a "on\t''
off\t''"
complete -c fanfare -n "__fish_fanfare_needs_command" -s h -l help -d 'Print help'
complete -c fanfare -n "__fish_fanfare_needs_command" -s V -l version -d 'Print version'
complete -c fanfare -n "__fish_fanfare_needs_command" -f -a "check-config" -d 'Say whether a settings file is right, or what is wrong in which line'
complete -c fanfare -n "__fish_fanfare_needs_command" -f -a "probe" -d 'Say whether this kernel and its limits offer what fanfare needs, or what is missing'
complete -c fanfare -n "__fish_fanfare_needs_command" -f -a "subscribe" -d 'Write what is published to topics to standard output, a line for each message'
complete -c fanfare -n "__fish_fanfare_needs_command" -f -a "publish" -d 'Publish each line of standard input to a topic, or one message'
complete -c fanfare -n "__fish_fanfare_needs_command" -f -a "top" -d 'Show what a daemon does: rates, topics, slow connections, cores, limits, warnings'
complete -c fanfare -n "__fish_fanfare_needs_command" -f -a "serve" -d 'Serve; also what happens without a command'
complete -c fanfare -n "__fish_fanfare_needs_command" -f -a "upgrade" -d 'Have the running daemon hand over to a newer one without a disconnect'
complete -c fanfare -n "__fish_fanfare_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c fanfare -n "__fish_fanfare_using_subcommand check-config" -l topic -d 'Also say which rule this topic gets, who may do what with it and what holds for it; repeatable' -r
complete -c fanfare -n "__fish_fanfare_using_subcommand check-config" -s h -l help -d 'Print help'
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l config -d 'TOML file with settings; options on the command line overrule it' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l listen -d 'Addresses that subscribers, publishers and browsers connect to [default: 127.0.0.1:8000] [allowed: IP:PORT, as 127.0.0.1:8000 or [::]:8000, unix:/PATH, or off; repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l listen-tls -d 'The same over TLS, for wss:// and https://; needs tls_certificates [default: off] [allowed: IP:PORT, as 127.0.0.1:8000 or [::]:8000, unix:/PATH, or off; repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l admin -d 'Addresses for everything else: health, metrics, topics, publishing, upgrades [default: 127.0.0.1:8001] [allowed: IP:PORT, as 127.0.0.1:8000 or [::]:8000, unix:/PATH, or off; repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l api -d 'Addresses for health, topics, publishing and the server API alone; may be among the others\', those of listen and listen_tls too [default: off] [allowed: IP:PORT, as 127.0.0.1:8000 or [::]:8000, unix:/PATH, or off; repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l metrics -d 'Addresses for health and metrics alone, read without a token; may be among the others\' [default: off] [allowed: IP:PORT, as 127.0.0.1:8000 or [::]:8000, unix:/PATH, or off; repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l admin-token-file -d 'File whose trimmed content, as it is at the time, is the token that requests to admin and api must bear [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l api-key-file -d 'File whose trimmed content, as it is at the time, is the key that requests to the server API may bear [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l origins -d 'Origins whose pages may connect; if empty, only pages from the host itself [default: none] [allowed: scheme://host[:port], as https://example.com or https://*.example.com; same-host; null or file:// for what sends that; * for any; repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l hosts -d 'Names in Host that are answered to, beside localhost and IP addresses; if empty, any from other machines [default: none] [allowed: names without port, as live.example.com or *.example.com; * for any; repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l trusted-proxies -d 'Proxies in front, whose word on the address of a client is taken [default: none] [allowed: an IP address or IP/BITS, as 127.0.0.1, 10.0.0.0/8 or fd00::/8; repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l proxy-header -d 'How the trusted proxies tell it; with proxy-protocol (v1 or v2) they all must [default: none] [allowed: none, proxy-protocol, x-forwarded-for]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l tls-certificates -d 'Certificates that are shown, each by the names that it is for, the first where no other fits; their files are read again with each reload, and when they have changed [default: none] [allowed: tables with chain_file, a certificate and those that vouch for it (PEM), and key_file, its key; repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l tls-client-ca -d 'File with the certificates of the authorities (PEM) that sign those of clients, which have to show one then; read again as the others [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l tls-client-auth -d 'Whether clients without a certificate are let in all the same; a wrong one never is [default: required] [allowed: required, optional]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l tls-version-min -d 'The oldest version of TLS that is spoken [default: 1.2] [allowed: 1.2, 1.3]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l hsts-max-age-s -d 'For how long browsers that came over TLS are to use nothing else for the host (Strict-Transport-Security); 0 does not say it [default: 0] [allowed: 0 to 315360000 seconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l admin-tls -d 'Whether the addresses of admin, api and metrics speak TLS, with the same certificates; Unix sockets never do [default: off] [allowed: on, off]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l cores -d 'Threads, each with its own listener and rings; may exceed the processors [default: auto] [allowed: 1 to 256, or auto for one per processor]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l log -d 'What is logged to standard error [default: info] [allowed: error, warn, info, debug, trace, off, or a list as info,fanfare::core=debug]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l log-format -d 'Form of the log lines; auto is the journal with its fields where there is one, else text [default: auto] [allowed: auto, text, json, journal]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l drain-ms-max -d 'How long stopping waits for subscribers to be sent what is still theirs [default: 5000] [allowed: 0 to 600000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l receive-buffers -d 'Receive buffers of 16 KiB each per core [default: 512] [allowed: a power of two, 16 to 32768]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l spin-us -d 'How long a core goes on looking for something to do before it sleeps, with a whole processor to itself; 0 is not at all [default: 0] [allowed: 0 to 1000000 microseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l ring-handshakes -d 'Whether connections are accepted and opened inside a core\'s ring, without a descriptor or a task of their own; auto does so from Linux 6.8 on, where neither TLS is spoken nor proxies say whose they are [default: auto] [allowed: auto, never]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l zerocopy -d 'Whether large sends skip the kernel\'s copy; auto stops where the kernel copies anyway [default: auto] [allowed: auto, always, never]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l zerocopy-bytes-min -d 'Sends of at least this size are tried without a copy [default: 64KiB] [allowed: 1 to 1 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l connections-max -d 'Connections in total; beyond it the answer is 503 with Retry-After [default: 100000] [allowed: 1 to 10000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l connections-per-address-max -d 'Connections from one IP address [default: 10000] [allowed: 1 to 10000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l handshakes-max -d 'Connections whose opening handshake is not finished yet [default: 4096] [allowed: 1 to 1000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l handshakes-per-address-max -d 'The same from one IP address [default: 1024] [allowed: 1 to 1000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l handshake-ms-max -d 'Time for the whole opening handshake [default: 5000] [allowed: 10 to 600000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l defer-accept -d 'Whether the kernel keeps a new connection until its first bytes are there, for a second at most (TCP_DEFER_ACCEPT), which makes handshakes cheaper; with off, who connects and says nothing is seen at once [default: on] [allowed: on, off]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l head-bytes-max -d 'Size of an HTTP request head; beyond it the answer is 431 [default: 32KiB] [allowed: 256 to 1 MiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l head-fields-max -d 'Header fields of an HTTP request; beyond it the answer is 431 [default: 128] [allowed: 8 to 4096]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l idle-ms-max -d 'A connection that has been silent for this long is closed [default: 120000] [allowed: 20 to 86400000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l ping-interval-ms -d 'A connection that has been silent for this long is asked whether it lives [default: 30000] [allowed: 10 to 86400000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l keepalive -d 'How it is asked: with a WebSocket ping, or by the kernel with TCP\'s keepalive, which wakes nobody; clients of Centrifugo\'s and Pusher\'s protocols and streams of events have the pings of theirs either way [default: ping] [allowed: ping, kernel]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l stall-ms-max -d 'How long a connection\'s socket may take nothing of what it is sent before the lag policy applies [default: 60000] [allowed: 20 to 86400000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l unsent-bytes-max -d 'Bytes of one connection that the kernel may hold unsent; the rest waits in the shared log [default: 256KiB] [allowed: 4 KiB to 1 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l api-connections-max -d 'Connections that ask the server API on addresses of listen; beyond it the answer is 503 with Retry-After [default: 256] [allowed: 1 to 100000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l retry-after-s -d 'Seconds in the Retry-After header of a 503 answer [default: 2] [allowed: 1 to 3600 seconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l centrifugo -d 'Centrifugo\'s client protocol on /connection/websocket [default: on] [allowed: on, off]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l event-streams -d 'Server-Sent Events: a topic on its own path, many on /events [default: on] [allowed: on, off]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l mercure -d 'Mercure\'s protocol (0.x) on /.well-known/mercure: streams of exact topics, and updates of one topic where the server API is [default: on] [allowed: on, off]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l refresh-ms-max -d 'How long a client of Centrifugo\'s protocol may take to send another token when one has expired [default: 25000] [allowed: 0 to 86400000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l topics-per-connection-max -d 'Topics that one connection may follow, where its protocol knows more than one [default: 128] [allowed: 1 to 1000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l commands-per-message-max -d 'Commands of Centrifugo\'s protocol in one message; beyond it the connection is closed with 3501 [default: 4096] [allowed: 1 to 1000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l answers-bytes-max -d 'Size of the answers to commands that wait for one client of Centrifugo\'s protocol, beyond which it is closed with 3008, and of those to a batch of its server API, beyond which the rest is not done [default: 16MiB] [allowed: 64 KiB to 1 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l token-checks-waiting-max -d 'Tokens that wait to be checked by a helper thread; beyond it a token waits with its connection [default: 4096] [allowed: 1 to 1000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l rosters-bytes-max -d 'Size of the lists of members that are on their way to clients of apps which join presence channels; beyond it they wait for one another, up to publish_wait_ms_max (1 s at least), and are then refused [default: 64MiB] [allowed: 64 KiB to 64 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l presence -d 'Whether clients may ask who follows a topic; on costs some 200 bytes for each who does [default: off] [allowed: on, off]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l message-bytes-max -d 'Size of one message; beyond it the connection is closed with 1009 [default: 1MiB] [allowed: 1 to 64 MiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l partial-bytes-max -d 'Size of all half-received messages together [default: auto] [allowed: 1 KiB to 64 GiB, or auto for 256 MiB, but at most 1/8 of the memory that the process may use]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l message-ms-max -d 'Time for one message to arrive; beyond it the connection is closed with 1008 [default: 60000] [allowed: 20 to 86400000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l inbound-messages-per-s-max -d 'Messages per second from one connection; 0 is no limit [default: 1000000] [allowed: 0 to 1000000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l inbound-bytes-per-s-max -d 'Bytes per second from one connection; 0 is no limit [default: 1GiB] [allowed: 0 to 1 TiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l publish-wait-ms-max -d 'How long a message waits for room or for cores that are behind, if it comes over HTTP or by a command of Centrifugo\'s protocol; then it is refused [default: 5000] [allowed: 0 to 60000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l batch-lines-max -d 'Lines of a batch; beyond it the answer is 413 [default: 10000] [allowed: 1 to 1000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l batch-bytes-max -d 'Size of a batch; beyond it the answer is 413 [default: 8MiB] [allowed: 1 KiB to 1 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l delivery-acks-max -d 'Publishers that may wait at a time to be told how a message was delivered; beyond it the answer is 503 [default: 64] [allowed: 1 to 10000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l idempotency-ms-max -d 'How long an answer is kept for the request with the same Idempotency-Key, or the message with the same idempotency_key [default: 300000] [allowed: 0 to 86400000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l idempotency-keys-max -d 'Answers that are kept so, of at most 16 MiB together; then the oldest go early [default: 65536] [allowed: 1 to 1000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l api-items-max -d 'Calls in a batch of Centrifugo\'s server API, channels of a broadcast, clients that a disconnect spares; beyond it the answer is 413 [default: 4096] [allowed: 1 to 1000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l api-error-mode -d 'Where errors of Centrifugo\'s server API are told: in the body of an answer with status 200, or by a status too [default: body] [allowed: body, transport]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l deflate -d 'permessage-deflate; takeover lets clients refer to earlier messages, at 32 KiB each [default: on] [allowed: on, takeover, off]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l deflate-level -d 'From 1, fast, to 9, small [default: 4] [allowed: 1 to 9]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l deflate-bytes-min -d 'Messages below this size go out as they are [default: 256] [allowed: 0 to 1 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l topics -d 'Who may do what with the topics of a pattern, and what holds for them in place of the settings; the first that matches decides [default: none] [allowed: tables with match, a pattern; subscribe, publish, presence, history, each anyone, token or nobody; retain_messages_max, retain_bytes_max, retain_ms_max, keep, pace_ms and lag_policy as the settings; latest, presence_list, joins, deflate, chat, page, each true or false; repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l anonymous -d 'What those without a token may do where no rule says it [default: none] [allowed: tables with match, a pattern, and subscribe, history (true if not given), publish, presence (false if not given); repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l token-keys -d 'Files with the keys that tokens are checked with: PEM, a JWK or a set, or a secret; read again with each reload [default: none] [allowed: a path, as /etc/fanfare/issuer.pem, or behind an algorithm, as HS256:/etc/fanfare/secret; repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l token-audience -d 'A token must be for one of these (aud); if empty, that is not looked at [default: none] [allowed: words; repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l token-issuer -d 'A token must come from one of these (iss); if empty, that is not looked at [default: none] [allowed: words; repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l token-cookie -d 'Cookie that may bear the token of pages whose origin is listed [default: none] [allowed: the name of a cookie]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l apps -d 'Apps of the Pusher Channels protocol: who publishes to the topics of a prefix over /apps and lets clients of /app in; their secrets are read again with each reload [default: none] [allowed: tables with id, key, and secret_files, one or two; prefix (none if not given), client_events (false), client_events_per_s_max (10), connections_max (0, no limit), event_bytes_max (10KiB), event_channels_max (100), batch_events_max (10), presence_members_max (100), presence_user_bytes_max (1KiB), webhooks (none), tables with url and events (all); repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l topics-max -d 'Topics that exist at one time [default: 200000] [allowed: 1 to 10000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l log-bytes-max -d 'Size of the log of one topic [default: 16MiB] [allowed: 64 KiB to 16 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l log-bytes-total-max -d 'Size of the logs of all topics together [default: auto] [allowed: 64 KiB to 1 TiB, or auto for 1 GiB, but at most 1/4 of the memory that the process may use]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l ahead-bytes-max -d 'How far publishers may be ahead of any core; then they are read from no further for a while [default: 1MiB] [allowed: 1 KiB to 16 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l retain-messages-max -d 'Messages that a topic keeps for those who come back [default: 1000] [allowed: 0 to 100000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l retain-bytes-max -d 'Bytes that a topic keeps for those who come back [default: 1MiB] [allowed: 0 to 1 TiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l retain-ms-max -d 'How long a topic keeps a message for those who come back, and is known to them when it keeps none [default: 300000] [allowed: 0 to 2592000000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l keep -d 'What keeps a topic\'s messages: memory; the folder named by store as well, so that history outlives the process; or the cluster\'s NATS servers [default: memory] [allowed: memory, disk, cluster]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l history-page-messages-max -d 'Messages in one page of history, as clients and the server API ask for it [default: 1000] [allowed: 1 to 1000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l history-page-bytes-max -d 'Size of one page of history, which ends with the message that reaches it [default: 1MiB] [allowed: 1 to 1 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l pace-ms -d 'A topic\'s subscribers are sent what is new at most this often, all of it together; 0 is at once [default: 0] [allowed: 0 to 60000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l lag-bytes-max -d 'How far a subscriber may fall behind before the lag policy applies [default: 8MiB] [allowed: 1 KiB to 16 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l lag-policy -d 'A subscriber that lags is closed with 1013, or with a notice goes on behind the newest message (skip) or with it (latest) [default: close] [allowed: close, skip, latest]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l store -d 'Folder in which the topics are kept that are to be kept on disk; made with mode 0700 if there is none [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l store-sync-ms -d 'How long what is written to the store may wait to be safe from a loss of power, unless a publisher waits for it (ack=stored) [default: 100] [allowed: 0 to 60000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l store-read-bytes-max -d 'Size of the history that is being read from the store for those who come back; beyond it they wait for one another [default: 64MiB] [allowed: 4 MiB to 64 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l otlp-endpoint -d 'Collector that is told of traces (OTLP over HTTP), as http://127.0.0.1:4318; none is no traces [default: none] [allowed: http://HOST:PORT or https://HOST:PORT, with the path before /v1/traces if there is one]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l otlp-headers-file -d 'File with further headers of requests to the collector, a line Name: value for each, as what it asks for of a secret [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l trace-sample-ratio -d 'Part of all messages and opening handshakes that is traced; a message with a sampled traceparent is in any case, one with another traceparent never [default: 0] [allowed: 0 to 1, as 0.01]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l trace-ms-max -d 'How long a traced message is followed to the sockets of its topic\'s subscribers [default: 10000] [allowed: 10 to 600000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l cluster-nats -d 'NATS servers whose JetStream keeps topics for several machines; others of their cluster are learnt. None is no cluster [default: none] [allowed: nats://HOST:PORT or tls://HOST:PORT, without user and password; repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l cluster-user -d 'User that this node is to the NATS servers; its password is in password_file [default: none] [allowed: a word]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l cluster-password-file -d 'File whose trimmed content is the password of user [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l cluster-token-file -d 'File whose trimmed content is a token for the NATS servers, in place of user and password [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l cluster-credentials-file -d 'File of credentials for the NATS servers as nsc writes it, with a JWT and a seed, in place of user and password [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l cluster-nkey-file -d 'File with the seed of an NKey for the NATS servers, in place of user and password [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l cluster-tls -d 'TLS to the NATS servers: where the address (tls://) or the server asks for it or a file below is named, or always [default: auto] [allowed: auto, on]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l cluster-ca-file -d 'File with the certificates of the authorities (PEM) that sign those of the NATS servers, in place of the system\'s [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l cluster-cert-file -d 'File with this node\'s certificate (PEM), for NATS servers that ask for one [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l cluster-key-file -d 'File with the private key (PEM) of that certificate [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l cluster-stream -d 'Name of the stream; with several, -0, -1 and so on follow [default: FANFARE] [allowed: letters, digits, - and _, 64 at most]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l cluster-streams -d 'Streams among which the topics are divided; never to be changed while the streams live [default: 1] [allowed: 1 to 64]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l cluster-prefix -d 'What the cluster\'s subjects begin with; several clusters may share NATS servers under several [default: fanfare] [allowed: words of letters, digits, - and _ with dots between them]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l cluster-replicas -d 'NATS servers that each keep every message: 1, 3 or 5; for a stream that is made [default: 1] [allowed: 1 to 5]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l cluster-storage -d 'Where the NATS servers keep messages; for a stream that is made [default: file] [allowed: file, memory]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l cluster-topic-messages-max -d 'Messages of each topic in a stream that is made; no rule may retain more; 0 is no limit [default: 10000] [allowed: 0 to 100000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l cluster-bytes-max -d 'Size of a stream that is made, beyond which it takes no more messages; 0 is no limit [default: 10GiB] [allowed: 0 to 1024 TiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l cluster-age-ms-max -d 'How long a stream that is made keeps a message; no rule may retain for longer; 0 is no limit [default: 86400000] [allowed: 0 to 315360000000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l cluster-duplicates-ms -d 'How long a stream that is made knows a message that is sent again [default: 300000] [allowed: 300000 to 604800000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l cluster-tail-check-ms -d 'How often the stream is asked whether a topic\'s newest message has been heard [default: 5000] [allowed: 100 to 600000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l cluster-answer-ms-max -d 'How long an answer of the NATS servers is awaited before they are asked again [default: 2000] [allowed: 100 to 60000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l cluster-propose-ms-max -d 'How long a message may wait to be stored, with the NATS servers away or not; then its publisher gets an error [default: 10000] [allowed: 100 to 600000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l cluster-proposed-bytes-max -d 'Size of all messages that wait to be stored; beyond it publishers wait [default: 64MiB] [allowed: 64 KiB to 16 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l cluster-node -d 'Name of this node, for people; if none, that of the host [default: none] [allowed: a word]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l cluster-secret-file -d 'File whose trimmed content all nodes and nobody else know, by which they believe one another; without it whoever may read the stream\'s configuration can pass for a node [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -l cluster-ready -d 'Whether /readyz answers 503 while the NATS servers are away [default: off] [allowed: on, off]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand probe" -s h -l help -d 'Print help'
complete -c fanfare -n "__fish_fanfare_using_subcommand subscribe" -l server -d 'Where the daemon is: ws://, wss://, http:// or https://HOST[:PORT], or unix:/PATH [default: the first of `listen` in /etc/fanfare/fanfare.toml, else on this machine]' -r
complete -c fanfare -n "__fish_fanfare_using_subcommand subscribe" -l since -d 'Begin with this message, as far as it is kept; 1 is all there is [default: what comes]' -r
complete -c fanfare -n "__fish_fanfare_using_subcommand subscribe" -s n -l count -d 'End after so many messages [default: never]' -r
complete -c fanfare -n "__fish_fanfare_using_subcommand subscribe" -l token-file -d 'File with the token to bear, read anew for each connection [default: the variable FANFARE_TOKEN]' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand subscribe" -l ca -d 'File with certificates of authorities to trust beside those of this machine, in PEM' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand subscribe" -l retry-s -d 'Give up so long after the first failure [default: at once at the beginning, never later]' -r
complete -c fanfare -n "__fish_fanfare_using_subcommand subscribe" -l json -d 'Write JSON: topic, epoch, offset, event if it has one, and data, text or b64data'
complete -c fanfare -n "__fish_fanfare_using_subcommand subscribe" -l insecure -d 'Trust any certificate: for trying things out alone'
complete -c fanfare -n "__fish_fanfare_using_subcommand subscribe" -s q -l quiet -d 'Say nothing of connections that break off and come back'
complete -c fanfare -n "__fish_fanfare_using_subcommand subscribe" -s h -l help -d 'Print help'
complete -c fanfare -n "__fish_fanfare_using_subcommand publish" -l server -d 'Where the daemon is: ws://, wss://, http:// or https://HOST[:PORT], or unix:/PATH [default: the first of `admin` or `api` in /etc/fanfare/fanfare.toml, else on this machine]' -r
complete -c fanfare -n "__fish_fanfare_using_subcommand publish" -l key-file -d 'File with the key of the server API [default: the variable FANFARE_API_KEY]' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand publish" -l token-file -d 'File with the token to bear, read anew for each connection [default: of a daemon that the settings name, their admin_token_file; else the variable FANFARE_TOKEN]' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand publish" -l ca -d 'File with certificates of authorities to trust beside those of this machine, in PEM' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand publish" -l retry-s -d 'Give up so long after the first failure [default: at once at the beginning, never later]' -r
complete -c fanfare -n "__fish_fanfare_using_subcommand publish" -l json -d 'Read JSON: one of data, text and b64data, and event and tags as wanted'
complete -c fanfare -n "__fish_fanfare_using_subcommand publish" -l insecure -d 'Trust any certificate: for trying things out alone'
complete -c fanfare -n "__fish_fanfare_using_subcommand publish" -s q -l quiet -d 'Say nothing of connections that break off and come back'
complete -c fanfare -n "__fish_fanfare_using_subcommand publish" -s h -l help -d 'Print help'
complete -c fanfare -n "__fish_fanfare_using_subcommand top" -l server -d 'Where the daemon is: ws://, wss://, http:// or https://HOST[:PORT], or unix:/PATH [default: the first of `admin` in /etc/fanfare/fanfare.toml, else on this machine]' -r
complete -c fanfare -n "__fish_fanfare_using_subcommand top" -l interval-ms -d 'How often the daemon is asked, 500 to 60000' -r
complete -c fanfare -n "__fish_fanfare_using_subcommand top" -l token-file -d 'File with the token to bear, read anew for each connection [default: of a daemon that the settings name, their admin_token_file; else the variable FANFARE_TOKEN]' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand top" -l ca -d 'File with certificates of authorities to trust beside those of this machine, in PEM' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand top" -l insecure -d 'Trust any certificate: for trying things out alone'
complete -c fanfare -n "__fish_fanfare_using_subcommand top" -s h -l help -d 'Print help'
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l config -d 'TOML file with settings; options on the command line overrule it' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l admin-token-file -d 'File whose trimmed content, as it is at the time, is the token that requests to admin and api must bear [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l api-key-file -d 'File whose trimmed content, as it is at the time, is the key that requests to the server API may bear [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l origins -d 'Origins whose pages may connect; if empty, only pages from the host itself [default: none] [allowed: scheme://host[:port], as https://example.com or https://*.example.com; same-host; null or file:// for what sends that; * for any; repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l hosts -d 'Names in Host that are answered to, beside localhost and IP addresses; if empty, any from other machines [default: none] [allowed: names without port, as live.example.com or *.example.com; * for any; repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l trusted-proxies -d 'Proxies in front, whose word on the address of a client is taken [default: none] [allowed: an IP address or IP/BITS, as 127.0.0.1, 10.0.0.0/8 or fd00::/8; repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l tls-certificates -d 'Certificates that are shown, each by the names that it is for, the first where no other fits; their files are read again with each reload, and when they have changed [default: none] [allowed: tables with chain_file, a certificate and those that vouch for it (PEM), and key_file, its key; repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l tls-client-ca -d 'File with the certificates of the authorities (PEM) that sign those of clients, which have to show one then; read again as the others [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l hsts-max-age-s -d 'For how long browsers that came over TLS are to use nothing else for the host (Strict-Transport-Security); 0 does not say it [default: 0] [allowed: 0 to 315360000 seconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l drain-ms-max -d 'How long stopping waits for subscribers to be sent what is still theirs [default: 5000] [allowed: 0 to 600000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l receive-buffers -d 'Receive buffers of 16 KiB each per core [default: 512] [allowed: a power of two, 16 to 32768]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l spin-us -d 'How long a core goes on looking for something to do before it sleeps, with a whole processor to itself; 0 is not at all [default: 0] [allowed: 0 to 1000000 microseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l zerocopy-bytes-min -d 'Sends of at least this size are tried without a copy [default: 64KiB] [allowed: 1 to 1 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l connections-max -d 'Connections in total; beyond it the answer is 503 with Retry-After [default: 100000] [allowed: 1 to 10000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l connections-per-address-max -d 'Connections from one IP address [default: 10000] [allowed: 1 to 10000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l handshakes-max -d 'Connections whose opening handshake is not finished yet [default: 4096] [allowed: 1 to 1000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l handshakes-per-address-max -d 'The same from one IP address [default: 1024] [allowed: 1 to 1000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l handshake-ms-max -d 'Time for the whole opening handshake [default: 5000] [allowed: 10 to 600000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l head-bytes-max -d 'Size of an HTTP request head; beyond it the answer is 431 [default: 32KiB] [allowed: 256 to 1 MiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l head-fields-max -d 'Header fields of an HTTP request; beyond it the answer is 431 [default: 128] [allowed: 8 to 4096]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l idle-ms-max -d 'A connection that has been silent for this long is closed [default: 120000] [allowed: 20 to 86400000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l ping-interval-ms -d 'A connection that has been silent for this long is asked whether it lives [default: 30000] [allowed: 10 to 86400000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l stall-ms-max -d 'How long a connection\'s socket may take nothing of what it is sent before the lag policy applies [default: 60000] [allowed: 20 to 86400000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l unsent-bytes-max -d 'Bytes of one connection that the kernel may hold unsent; the rest waits in the shared log [default: 256KiB] [allowed: 4 KiB to 1 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l api-connections-max -d 'Connections that ask the server API on addresses of listen; beyond it the answer is 503 with Retry-After [default: 256] [allowed: 1 to 100000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l retry-after-s -d 'Seconds in the Retry-After header of a 503 answer [default: 2] [allowed: 1 to 3600 seconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l refresh-ms-max -d 'How long a client of Centrifugo\'s protocol may take to send another token when one has expired [default: 25000] [allowed: 0 to 86400000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l topics-per-connection-max -d 'Topics that one connection may follow, where its protocol knows more than one [default: 128] [allowed: 1 to 1000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l commands-per-message-max -d 'Commands of Centrifugo\'s protocol in one message; beyond it the connection is closed with 3501 [default: 4096] [allowed: 1 to 1000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l answers-bytes-max -d 'Size of the answers to commands that wait for one client of Centrifugo\'s protocol, beyond which it is closed with 3008, and of those to a batch of its server API, beyond which the rest is not done [default: 16MiB] [allowed: 64 KiB to 1 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l token-checks-waiting-max -d 'Tokens that wait to be checked by a helper thread; beyond it a token waits with its connection [default: 4096] [allowed: 1 to 1000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l rosters-bytes-max -d 'Size of the lists of members that are on their way to clients of apps which join presence channels; beyond it they wait for one another, up to publish_wait_ms_max (1 s at least), and are then refused [default: 64MiB] [allowed: 64 KiB to 64 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l message-bytes-max -d 'Size of one message; beyond it the connection is closed with 1009 [default: 1MiB] [allowed: 1 to 64 MiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l message-ms-max -d 'Time for one message to arrive; beyond it the connection is closed with 1008 [default: 60000] [allowed: 20 to 86400000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l inbound-messages-per-s-max -d 'Messages per second from one connection; 0 is no limit [default: 1000000] [allowed: 0 to 1000000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l inbound-bytes-per-s-max -d 'Bytes per second from one connection; 0 is no limit [default: 1GiB] [allowed: 0 to 1 TiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l publish-wait-ms-max -d 'How long a message waits for room or for cores that are behind, if it comes over HTTP or by a command of Centrifugo\'s protocol; then it is refused [default: 5000] [allowed: 0 to 60000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l batch-lines-max -d 'Lines of a batch; beyond it the answer is 413 [default: 10000] [allowed: 1 to 1000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l batch-bytes-max -d 'Size of a batch; beyond it the answer is 413 [default: 8MiB] [allowed: 1 KiB to 1 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l delivery-acks-max -d 'Publishers that may wait at a time to be told how a message was delivered; beyond it the answer is 503 [default: 64] [allowed: 1 to 10000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l idempotency-ms-max -d 'How long an answer is kept for the request with the same Idempotency-Key, or the message with the same idempotency_key [default: 300000] [allowed: 0 to 86400000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l idempotency-keys-max -d 'Answers that are kept so, of at most 16 MiB together; then the oldest go early [default: 65536] [allowed: 1 to 1000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l api-items-max -d 'Calls in a batch of Centrifugo\'s server API, channels of a broadcast, clients that a disconnect spares; beyond it the answer is 413 [default: 4096] [allowed: 1 to 1000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l deflate-level -d 'From 1, fast, to 9, small [default: 4] [allowed: 1 to 9]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l deflate-bytes-min -d 'Messages below this size go out as they are [default: 256] [allowed: 0 to 1 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l topics -d 'Who may do what with the topics of a pattern, and what holds for them in place of the settings; the first that matches decides [default: none] [allowed: tables with match, a pattern; subscribe, publish, presence, history, each anyone, token or nobody; retain_messages_max, retain_bytes_max, retain_ms_max, keep, pace_ms and lag_policy as the settings; latest, presence_list, joins, deflate, chat, page, each true or false; repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l anonymous -d 'What those without a token may do where no rule says it [default: none] [allowed: tables with match, a pattern, and subscribe, history (true if not given), publish, presence (false if not given); repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l token-keys -d 'Files with the keys that tokens are checked with: PEM, a JWK or a set, or a secret; read again with each reload [default: none] [allowed: a path, as /etc/fanfare/issuer.pem, or behind an algorithm, as HS256:/etc/fanfare/secret; repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l token-audience -d 'A token must be for one of these (aud); if empty, that is not looked at [default: none] [allowed: words; repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l token-issuer -d 'A token must come from one of these (iss); if empty, that is not looked at [default: none] [allowed: words; repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l token-cookie -d 'Cookie that may bear the token of pages whose origin is listed [default: none] [allowed: the name of a cookie]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l apps -d 'Apps of the Pusher Channels protocol: who publishes to the topics of a prefix over /apps and lets clients of /app in; their secrets are read again with each reload [default: none] [allowed: tables with id, key, and secret_files, one or two; prefix (none if not given), client_events (false), client_events_per_s_max (10), connections_max (0, no limit), event_bytes_max (10KiB), event_channels_max (100), batch_events_max (10), presence_members_max (100), presence_user_bytes_max (1KiB), webhooks (none), tables with url and events (all); repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l topics-max -d 'Topics that exist at one time [default: 200000] [allowed: 1 to 10000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l log-bytes-max -d 'Size of the log of one topic [default: 16MiB] [allowed: 64 KiB to 16 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l ahead-bytes-max -d 'How far publishers may be ahead of any core; then they are read from no further for a while [default: 1MiB] [allowed: 1 KiB to 16 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l retain-messages-max -d 'Messages that a topic keeps for those who come back [default: 1000] [allowed: 0 to 100000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l retain-bytes-max -d 'Bytes that a topic keeps for those who come back [default: 1MiB] [allowed: 0 to 1 TiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l retain-ms-max -d 'How long a topic keeps a message for those who come back, and is known to them when it keeps none [default: 300000] [allowed: 0 to 2592000000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l history-page-messages-max -d 'Messages in one page of history, as clients and the server API ask for it [default: 1000] [allowed: 1 to 1000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l history-page-bytes-max -d 'Size of one page of history, which ends with the message that reaches it [default: 1MiB] [allowed: 1 to 1 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l pace-ms -d 'A topic\'s subscribers are sent what is new at most this often, all of it together; 0 is at once [default: 0] [allowed: 0 to 60000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l lag-bytes-max -d 'How far a subscriber may fall behind before the lag policy applies [default: 8MiB] [allowed: 1 KiB to 16 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l store -d 'Folder in which the topics are kept that are to be kept on disk; made with mode 0700 if there is none [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l store-sync-ms -d 'How long what is written to the store may wait to be safe from a loss of power, unless a publisher waits for it (ack=stored) [default: 100] [allowed: 0 to 60000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l store-read-bytes-max -d 'Size of the history that is being read from the store for those who come back; beyond it they wait for one another [default: 64MiB] [allowed: 4 MiB to 64 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l otlp-endpoint -d 'Collector that is told of traces (OTLP over HTTP), as http://127.0.0.1:4318; none is no traces [default: none] [allowed: http://HOST:PORT or https://HOST:PORT, with the path before /v1/traces if there is one]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l otlp-headers-file -d 'File with further headers of requests to the collector, a line Name: value for each, as what it asks for of a secret [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l trace-sample-ratio -d 'Part of all messages and opening handshakes that is traced; a message with a sampled traceparent is in any case, one with another traceparent never [default: 0] [allowed: 0 to 1, as 0.01]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l trace-ms-max -d 'How long a traced message is followed to the sockets of its topic\'s subscribers [default: 10000] [allowed: 10 to 600000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l cluster-nats -d 'NATS servers whose JetStream keeps topics for several machines; others of their cluster are learnt. None is no cluster [default: none] [allowed: nats://HOST:PORT or tls://HOST:PORT, without user and password; repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l cluster-user -d 'User that this node is to the NATS servers; its password is in password_file [default: none] [allowed: a word]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l cluster-password-file -d 'File whose trimmed content is the password of user [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l cluster-token-file -d 'File whose trimmed content is a token for the NATS servers, in place of user and password [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l cluster-credentials-file -d 'File of credentials for the NATS servers as nsc writes it, with a JWT and a seed, in place of user and password [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l cluster-nkey-file -d 'File with the seed of an NKey for the NATS servers, in place of user and password [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l cluster-ca-file -d 'File with the certificates of the authorities (PEM) that sign those of the NATS servers, in place of the system\'s [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l cluster-cert-file -d 'File with this node\'s certificate (PEM), for NATS servers that ask for one [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l cluster-key-file -d 'File with the private key (PEM) of that certificate [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l cluster-stream -d 'Name of the stream; with several, -0, -1 and so on follow [default: FANFARE] [allowed: letters, digits, - and _, 64 at most]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l cluster-streams -d 'Streams among which the topics are divided; never to be changed while the streams live [default: 1] [allowed: 1 to 64]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l cluster-prefix -d 'What the cluster\'s subjects begin with; several clusters may share NATS servers under several [default: fanfare] [allowed: words of letters, digits, - and _ with dots between them]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l cluster-replicas -d 'NATS servers that each keep every message: 1, 3 or 5; for a stream that is made [default: 1] [allowed: 1 to 5]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l cluster-topic-messages-max -d 'Messages of each topic in a stream that is made; no rule may retain more; 0 is no limit [default: 10000] [allowed: 0 to 100000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l cluster-bytes-max -d 'Size of a stream that is made, beyond which it takes no more messages; 0 is no limit [default: 10GiB] [allowed: 0 to 1024 TiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l cluster-age-ms-max -d 'How long a stream that is made keeps a message; no rule may retain for longer; 0 is no limit [default: 86400000] [allowed: 0 to 315360000000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l cluster-duplicates-ms -d 'How long a stream that is made knows a message that is sent again [default: 300000] [allowed: 300000 to 604800000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l cluster-tail-check-ms -d 'How often the stream is asked whether a topic\'s newest message has been heard [default: 5000] [allowed: 100 to 600000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l cluster-answer-ms-max -d 'How long an answer of the NATS servers is awaited before they are asked again [default: 2000] [allowed: 100 to 60000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l cluster-propose-ms-max -d 'How long a message may wait to be stored, with the NATS servers away or not; then its publisher gets an error [default: 10000] [allowed: 100 to 600000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l cluster-proposed-bytes-max -d 'Size of all messages that wait to be stored; beyond it publishers wait [default: 64MiB] [allowed: 64 KiB to 16 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l cluster-node -d 'Name of this node, for people; if none, that of the host [default: none] [allowed: a word]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l cluster-secret-file -d 'File whose trimmed content all nodes and nobody else know, by which they believe one another; without it whoever may read the stream\'s configuration can pass for a node [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l listen -d 'Addresses that subscribers, publishers and browsers connect to [default: 127.0.0.1:8000] [allowed: IP:PORT, as 127.0.0.1:8000 or [::]:8000, unix:/PATH, or off; repeatable]' -r -f -a "off\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l listen-tls -d 'The same over TLS, for wss:// and https://; needs tls_certificates [default: off] [allowed: IP:PORT, as 127.0.0.1:8000 or [::]:8000, unix:/PATH, or off; repeatable]' -r -f -a "off\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l admin -d 'Addresses for everything else: health, metrics, topics, publishing, upgrades [default: 127.0.0.1:8001] [allowed: IP:PORT, as 127.0.0.1:8000 or [::]:8000, unix:/PATH, or off; repeatable]' -r -f -a "off\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l api -d 'Addresses for health, topics, publishing and the server API alone; may be among the others\', those of listen and listen_tls too [default: off] [allowed: IP:PORT, as 127.0.0.1:8000 or [::]:8000, unix:/PATH, or off; repeatable]' -r -f -a "off\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l metrics -d 'Addresses for health and metrics alone, read without a token; may be among the others\' [default: off] [allowed: IP:PORT, as 127.0.0.1:8000 or [::]:8000, unix:/PATH, or off; repeatable]' -r -f -a "off\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l proxy-header -d 'How the trusted proxies tell it; with proxy-protocol (v1 or v2) they all must [default: none] [allowed: none, proxy-protocol, x-forwarded-for]' -r -f -a "none\t''
proxy-protocol\t''
x-forwarded-for\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l tls-client-auth -d 'Whether clients without a certificate are let in all the same; a wrong one never is [default: required] [allowed: required, optional]' -r -f -a "required\t''
optional\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l tls-version-min -d 'The oldest version of TLS that is spoken [default: 1.2] [allowed: 1.2, 1.3]' -r -f -a "1.2\t''
1.3\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l admin-tls -d 'Whether the addresses of admin, api and metrics speak TLS, with the same certificates; Unix sockets never do [default: off] [allowed: on, off]' -r -f -a "on\t''
off\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l cores -d 'Threads, each with its own listener and rings; may exceed the processors [default: auto] [allowed: 1 to 256, or auto for one per processor]' -r -f -a "auto\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l log -d 'What is logged to standard error [default: info] [allowed: error, warn, info, debug, trace, off, or a list as info,fanfare::core=debug]' -r -f -a "off\t''
error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l log-format -d 'Form of the log lines; auto is the journal with its fields where there is one, else text [default: auto] [allowed: auto, text, json, journal]' -r -f -a "auto\t''
text\t''
json\t''
journal\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l ring-handshakes -d 'Whether connections are accepted and opened inside a core\'s ring, without a descriptor or a task of their own; auto does so from Linux 6.8 on, where neither TLS is spoken nor proxies say whose they are [default: auto] [allowed: auto, never]' -r -f -a "auto\t''
never\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l zerocopy -d 'Whether large sends skip the kernel\'s copy; auto stops where the kernel copies anyway [default: auto] [allowed: auto, always, never]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l defer-accept -d 'Whether the kernel keeps a new connection until its first bytes are there, for a second at most (TCP_DEFER_ACCEPT), which makes handshakes cheaper; with off, who connects and says nothing is seen at once [default: on] [allowed: on, off]' -r -f -a "on\t''
off\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l keepalive -d 'How it is asked: with a WebSocket ping, or by the kernel with TCP\'s keepalive, which wakes nobody; clients of Centrifugo\'s and Pusher\'s protocols and streams of events have the pings of theirs either way [default: ping] [allowed: ping, kernel]' -r -f -a "ping\t''
kernel\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l centrifugo -d 'Centrifugo\'s client protocol on /connection/websocket [default: on] [allowed: on, off]' -r -f -a "on\t''
off\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l event-streams -d 'Server-Sent Events: a topic on its own path, many on /events [default: on] [allowed: on, off]' -r -f -a "on\t''
off\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l mercure -d 'Mercure\'s protocol (0.x) on /.well-known/mercure: streams of exact topics, and updates of one topic where the server API is [default: on] [allowed: on, off]' -r -f -a "on\t''
off\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l presence -d 'Whether clients may ask who follows a topic; on costs some 200 bytes for each who does [default: off] [allowed: on, off]' -r -f -a "on\t''
off\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l partial-bytes-max -d 'Size of all half-received messages together [default: auto] [allowed: 1 KiB to 64 GiB, or auto for 256 MiB, but at most 1/8 of the memory that the process may use]' -r -f -a "auto\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l api-error-mode -d 'Where errors of Centrifugo\'s server API are told: in the body of an answer with status 200, or by a status too [default: body] [allowed: body, transport]' -r -f -a "body\t''
transport\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l deflate -d 'permessage-deflate; takeover lets clients refer to earlier messages, at 32 KiB each [default: on] [allowed: on, takeover, off]' -r -f -a "on\t''
takeover\t''
off\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l log-bytes-total-max -d 'Size of the logs of all topics together [default: auto] [allowed: 64 KiB to 1 TiB, or auto for 1 GiB, but at most 1/4 of the memory that the process may use]' -r -f -a "auto\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l keep -d 'What keeps a topic\'s messages: memory; the folder named by store as well, so that history outlives the process; or the cluster\'s NATS servers [default: memory] [allowed: memory, disk, cluster]' -r -f -a "memory\t''
disk\t''
cluster\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l lag-policy -d 'A subscriber that lags is closed with 1013, or with a notice goes on behind the newest message (skip) or with it (latest) [default: close] [allowed: close, skip, latest]' -r -f -a "close\t''
skip\t''
latest\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l cluster-tls -d 'TLS to the NATS servers: where the address (tls://) or the server asks for it or a file below is named, or always [default: auto] [allowed: auto, on]' -r -f -a "auto\t''
on\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l cluster-storage -d 'Where the NATS servers keep messages; for a stream that is made [default: file] [allowed: file, memory]' -r -f -a "file\t''
memory\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -l cluster-ready -d 'Whether /readyz answers 503 while the NATS servers are away [default: off] [allowed: on, off]' -r -f -a "on\t''
off\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand serve" -s h -l help -d 'Print help'
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l config -d 'TOML file with settings; options on the command line overrule it' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l admin-token-file -d 'File whose trimmed content, as it is at the time, is the token that requests to admin and api must bear [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l api-key-file -d 'File whose trimmed content, as it is at the time, is the key that requests to the server API may bear [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l origins -d 'Origins whose pages may connect; if empty, only pages from the host itself [default: none] [allowed: scheme://host[:port], as https://example.com or https://*.example.com; same-host; null or file:// for what sends that; * for any; repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l hosts -d 'Names in Host that are answered to, beside localhost and IP addresses; if empty, any from other machines [default: none] [allowed: names without port, as live.example.com or *.example.com; * for any; repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l trusted-proxies -d 'Proxies in front, whose word on the address of a client is taken [default: none] [allowed: an IP address or IP/BITS, as 127.0.0.1, 10.0.0.0/8 or fd00::/8; repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l tls-certificates -d 'Certificates that are shown, each by the names that it is for, the first where no other fits; their files are read again with each reload, and when they have changed [default: none] [allowed: tables with chain_file, a certificate and those that vouch for it (PEM), and key_file, its key; repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l tls-client-ca -d 'File with the certificates of the authorities (PEM) that sign those of clients, which have to show one then; read again as the others [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l hsts-max-age-s -d 'For how long browsers that came over TLS are to use nothing else for the host (Strict-Transport-Security); 0 does not say it [default: 0] [allowed: 0 to 315360000 seconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l drain-ms-max -d 'How long stopping waits for subscribers to be sent what is still theirs [default: 5000] [allowed: 0 to 600000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l receive-buffers -d 'Receive buffers of 16 KiB each per core [default: 512] [allowed: a power of two, 16 to 32768]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l spin-us -d 'How long a core goes on looking for something to do before it sleeps, with a whole processor to itself; 0 is not at all [default: 0] [allowed: 0 to 1000000 microseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l zerocopy-bytes-min -d 'Sends of at least this size are tried without a copy [default: 64KiB] [allowed: 1 to 1 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l connections-max -d 'Connections in total; beyond it the answer is 503 with Retry-After [default: 100000] [allowed: 1 to 10000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l connections-per-address-max -d 'Connections from one IP address [default: 10000] [allowed: 1 to 10000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l handshakes-max -d 'Connections whose opening handshake is not finished yet [default: 4096] [allowed: 1 to 1000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l handshakes-per-address-max -d 'The same from one IP address [default: 1024] [allowed: 1 to 1000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l handshake-ms-max -d 'Time for the whole opening handshake [default: 5000] [allowed: 10 to 600000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l head-bytes-max -d 'Size of an HTTP request head; beyond it the answer is 431 [default: 32KiB] [allowed: 256 to 1 MiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l head-fields-max -d 'Header fields of an HTTP request; beyond it the answer is 431 [default: 128] [allowed: 8 to 4096]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l idle-ms-max -d 'A connection that has been silent for this long is closed [default: 120000] [allowed: 20 to 86400000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l ping-interval-ms -d 'A connection that has been silent for this long is asked whether it lives [default: 30000] [allowed: 10 to 86400000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l stall-ms-max -d 'How long a connection\'s socket may take nothing of what it is sent before the lag policy applies [default: 60000] [allowed: 20 to 86400000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l unsent-bytes-max -d 'Bytes of one connection that the kernel may hold unsent; the rest waits in the shared log [default: 256KiB] [allowed: 4 KiB to 1 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l api-connections-max -d 'Connections that ask the server API on addresses of listen; beyond it the answer is 503 with Retry-After [default: 256] [allowed: 1 to 100000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l retry-after-s -d 'Seconds in the Retry-After header of a 503 answer [default: 2] [allowed: 1 to 3600 seconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l refresh-ms-max -d 'How long a client of Centrifugo\'s protocol may take to send another token when one has expired [default: 25000] [allowed: 0 to 86400000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l topics-per-connection-max -d 'Topics that one connection may follow, where its protocol knows more than one [default: 128] [allowed: 1 to 1000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l commands-per-message-max -d 'Commands of Centrifugo\'s protocol in one message; beyond it the connection is closed with 3501 [default: 4096] [allowed: 1 to 1000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l answers-bytes-max -d 'Size of the answers to commands that wait for one client of Centrifugo\'s protocol, beyond which it is closed with 3008, and of those to a batch of its server API, beyond which the rest is not done [default: 16MiB] [allowed: 64 KiB to 1 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l token-checks-waiting-max -d 'Tokens that wait to be checked by a helper thread; beyond it a token waits with its connection [default: 4096] [allowed: 1 to 1000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l rosters-bytes-max -d 'Size of the lists of members that are on their way to clients of apps which join presence channels; beyond it they wait for one another, up to publish_wait_ms_max (1 s at least), and are then refused [default: 64MiB] [allowed: 64 KiB to 64 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l message-bytes-max -d 'Size of one message; beyond it the connection is closed with 1009 [default: 1MiB] [allowed: 1 to 64 MiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l message-ms-max -d 'Time for one message to arrive; beyond it the connection is closed with 1008 [default: 60000] [allowed: 20 to 86400000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l inbound-messages-per-s-max -d 'Messages per second from one connection; 0 is no limit [default: 1000000] [allowed: 0 to 1000000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l inbound-bytes-per-s-max -d 'Bytes per second from one connection; 0 is no limit [default: 1GiB] [allowed: 0 to 1 TiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l publish-wait-ms-max -d 'How long a message waits for room or for cores that are behind, if it comes over HTTP or by a command of Centrifugo\'s protocol; then it is refused [default: 5000] [allowed: 0 to 60000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l batch-lines-max -d 'Lines of a batch; beyond it the answer is 413 [default: 10000] [allowed: 1 to 1000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l batch-bytes-max -d 'Size of a batch; beyond it the answer is 413 [default: 8MiB] [allowed: 1 KiB to 1 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l delivery-acks-max -d 'Publishers that may wait at a time to be told how a message was delivered; beyond it the answer is 503 [default: 64] [allowed: 1 to 10000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l idempotency-ms-max -d 'How long an answer is kept for the request with the same Idempotency-Key, or the message with the same idempotency_key [default: 300000] [allowed: 0 to 86400000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l idempotency-keys-max -d 'Answers that are kept so, of at most 16 MiB together; then the oldest go early [default: 65536] [allowed: 1 to 1000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l api-items-max -d 'Calls in a batch of Centrifugo\'s server API, channels of a broadcast, clients that a disconnect spares; beyond it the answer is 413 [default: 4096] [allowed: 1 to 1000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l deflate-level -d 'From 1, fast, to 9, small [default: 4] [allowed: 1 to 9]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l deflate-bytes-min -d 'Messages below this size go out as they are [default: 256] [allowed: 0 to 1 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l topics -d 'Who may do what with the topics of a pattern, and what holds for them in place of the settings; the first that matches decides [default: none] [allowed: tables with match, a pattern; subscribe, publish, presence, history, each anyone, token or nobody; retain_messages_max, retain_bytes_max, retain_ms_max, keep, pace_ms and lag_policy as the settings; latest, presence_list, joins, deflate, chat, page, each true or false; repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l anonymous -d 'What those without a token may do where no rule says it [default: none] [allowed: tables with match, a pattern, and subscribe, history (true if not given), publish, presence (false if not given); repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l token-keys -d 'Files with the keys that tokens are checked with: PEM, a JWK or a set, or a secret; read again with each reload [default: none] [allowed: a path, as /etc/fanfare/issuer.pem, or behind an algorithm, as HS256:/etc/fanfare/secret; repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l token-audience -d 'A token must be for one of these (aud); if empty, that is not looked at [default: none] [allowed: words; repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l token-issuer -d 'A token must come from one of these (iss); if empty, that is not looked at [default: none] [allowed: words; repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l token-cookie -d 'Cookie that may bear the token of pages whose origin is listed [default: none] [allowed: the name of a cookie]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l apps -d 'Apps of the Pusher Channels protocol: who publishes to the topics of a prefix over /apps and lets clients of /app in; their secrets are read again with each reload [default: none] [allowed: tables with id, key, and secret_files, one or two; prefix (none if not given), client_events (false), client_events_per_s_max (10), connections_max (0, no limit), event_bytes_max (10KiB), event_channels_max (100), batch_events_max (10), presence_members_max (100), presence_user_bytes_max (1KiB), webhooks (none), tables with url and events (all); repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l topics-max -d 'Topics that exist at one time [default: 200000] [allowed: 1 to 10000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l log-bytes-max -d 'Size of the log of one topic [default: 16MiB] [allowed: 64 KiB to 16 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l ahead-bytes-max -d 'How far publishers may be ahead of any core; then they are read from no further for a while [default: 1MiB] [allowed: 1 KiB to 16 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l retain-messages-max -d 'Messages that a topic keeps for those who come back [default: 1000] [allowed: 0 to 100000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l retain-bytes-max -d 'Bytes that a topic keeps for those who come back [default: 1MiB] [allowed: 0 to 1 TiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l retain-ms-max -d 'How long a topic keeps a message for those who come back, and is known to them when it keeps none [default: 300000] [allowed: 0 to 2592000000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l history-page-messages-max -d 'Messages in one page of history, as clients and the server API ask for it [default: 1000] [allowed: 1 to 1000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l history-page-bytes-max -d 'Size of one page of history, which ends with the message that reaches it [default: 1MiB] [allowed: 1 to 1 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l pace-ms -d 'A topic\'s subscribers are sent what is new at most this often, all of it together; 0 is at once [default: 0] [allowed: 0 to 60000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l lag-bytes-max -d 'How far a subscriber may fall behind before the lag policy applies [default: 8MiB] [allowed: 1 KiB to 16 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l store -d 'Folder in which the topics are kept that are to be kept on disk; made with mode 0700 if there is none [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l store-sync-ms -d 'How long what is written to the store may wait to be safe from a loss of power, unless a publisher waits for it (ack=stored) [default: 100] [allowed: 0 to 60000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l store-read-bytes-max -d 'Size of the history that is being read from the store for those who come back; beyond it they wait for one another [default: 64MiB] [allowed: 4 MiB to 64 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l otlp-endpoint -d 'Collector that is told of traces (OTLP over HTTP), as http://127.0.0.1:4318; none is no traces [default: none] [allowed: http://HOST:PORT or https://HOST:PORT, with the path before /v1/traces if there is one]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l otlp-headers-file -d 'File with further headers of requests to the collector, a line Name: value for each, as what it asks for of a secret [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l trace-sample-ratio -d 'Part of all messages and opening handshakes that is traced; a message with a sampled traceparent is in any case, one with another traceparent never [default: 0] [allowed: 0 to 1, as 0.01]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l trace-ms-max -d 'How long a traced message is followed to the sockets of its topic\'s subscribers [default: 10000] [allowed: 10 to 600000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l cluster-nats -d 'NATS servers whose JetStream keeps topics for several machines; others of their cluster are learnt. None is no cluster [default: none] [allowed: nats://HOST:PORT or tls://HOST:PORT, without user and password; repeatable]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l cluster-user -d 'User that this node is to the NATS servers; its password is in password_file [default: none] [allowed: a word]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l cluster-password-file -d 'File whose trimmed content is the password of user [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l cluster-token-file -d 'File whose trimmed content is a token for the NATS servers, in place of user and password [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l cluster-credentials-file -d 'File of credentials for the NATS servers as nsc writes it, with a JWT and a seed, in place of user and password [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l cluster-nkey-file -d 'File with the seed of an NKey for the NATS servers, in place of user and password [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l cluster-ca-file -d 'File with the certificates of the authorities (PEM) that sign those of the NATS servers, in place of the system\'s [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l cluster-cert-file -d 'File with this node\'s certificate (PEM), for NATS servers that ask for one [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l cluster-key-file -d 'File with the private key (PEM) of that certificate [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l cluster-stream -d 'Name of the stream; with several, -0, -1 and so on follow [default: FANFARE] [allowed: letters, digits, - and _, 64 at most]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l cluster-streams -d 'Streams among which the topics are divided; never to be changed while the streams live [default: 1] [allowed: 1 to 64]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l cluster-prefix -d 'What the cluster\'s subjects begin with; several clusters may share NATS servers under several [default: fanfare] [allowed: words of letters, digits, - and _ with dots between them]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l cluster-replicas -d 'NATS servers that each keep every message: 1, 3 or 5; for a stream that is made [default: 1] [allowed: 1 to 5]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l cluster-topic-messages-max -d 'Messages of each topic in a stream that is made; no rule may retain more; 0 is no limit [default: 10000] [allowed: 0 to 100000000]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l cluster-bytes-max -d 'Size of a stream that is made, beyond which it takes no more messages; 0 is no limit [default: 10GiB] [allowed: 0 to 1024 TiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l cluster-age-ms-max -d 'How long a stream that is made keeps a message; no rule may retain for longer; 0 is no limit [default: 86400000] [allowed: 0 to 315360000000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l cluster-duplicates-ms -d 'How long a stream that is made knows a message that is sent again [default: 300000] [allowed: 300000 to 604800000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l cluster-tail-check-ms -d 'How often the stream is asked whether a topic\'s newest message has been heard [default: 5000] [allowed: 100 to 600000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l cluster-answer-ms-max -d 'How long an answer of the NATS servers is awaited before they are asked again [default: 2000] [allowed: 100 to 60000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l cluster-propose-ms-max -d 'How long a message may wait to be stored, with the NATS servers away or not; then its publisher gets an error [default: 10000] [allowed: 100 to 600000 milliseconds]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l cluster-proposed-bytes-max -d 'Size of all messages that wait to be stored; beyond it publishers wait [default: 64MiB] [allowed: 64 KiB to 16 GiB]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l cluster-node -d 'Name of this node, for people; if none, that of the host [default: none] [allowed: a word]' -r -f
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l cluster-secret-file -d 'File whose trimmed content all nodes and nobody else know, by which they believe one another; without it whoever may read the stream\'s configuration can pass for a node [default: none] [allowed: a path]' -r -F
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l listen -d 'Addresses that subscribers, publishers and browsers connect to [default: 127.0.0.1:8000] [allowed: IP:PORT, as 127.0.0.1:8000 or [::]:8000, unix:/PATH, or off; repeatable]' -r -f -a "off\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l listen-tls -d 'The same over TLS, for wss:// and https://; needs tls_certificates [default: off] [allowed: IP:PORT, as 127.0.0.1:8000 or [::]:8000, unix:/PATH, or off; repeatable]' -r -f -a "off\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l admin -d 'Addresses for everything else: health, metrics, topics, publishing, upgrades [default: 127.0.0.1:8001] [allowed: IP:PORT, as 127.0.0.1:8000 or [::]:8000, unix:/PATH, or off; repeatable]' -r -f -a "off\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l api -d 'Addresses for health, topics, publishing and the server API alone; may be among the others\', those of listen and listen_tls too [default: off] [allowed: IP:PORT, as 127.0.0.1:8000 or [::]:8000, unix:/PATH, or off; repeatable]' -r -f -a "off\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l metrics -d 'Addresses for health and metrics alone, read without a token; may be among the others\' [default: off] [allowed: IP:PORT, as 127.0.0.1:8000 or [::]:8000, unix:/PATH, or off; repeatable]' -r -f -a "off\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l proxy-header -d 'How the trusted proxies tell it; with proxy-protocol (v1 or v2) they all must [default: none] [allowed: none, proxy-protocol, x-forwarded-for]' -r -f -a "none\t''
proxy-protocol\t''
x-forwarded-for\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l tls-client-auth -d 'Whether clients without a certificate are let in all the same; a wrong one never is [default: required] [allowed: required, optional]' -r -f -a "required\t''
optional\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l tls-version-min -d 'The oldest version of TLS that is spoken [default: 1.2] [allowed: 1.2, 1.3]' -r -f -a "1.2\t''
1.3\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l admin-tls -d 'Whether the addresses of admin, api and metrics speak TLS, with the same certificates; Unix sockets never do [default: off] [allowed: on, off]' -r -f -a "on\t''
off\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l cores -d 'Threads, each with its own listener and rings; may exceed the processors [default: auto] [allowed: 1 to 256, or auto for one per processor]' -r -f -a "auto\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l log -d 'What is logged to standard error [default: info] [allowed: error, warn, info, debug, trace, off, or a list as info,fanfare::core=debug]' -r -f -a "off\t''
error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l log-format -d 'Form of the log lines; auto is the journal with its fields where there is one, else text [default: auto] [allowed: auto, text, json, journal]' -r -f -a "auto\t''
text\t''
json\t''
journal\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l ring-handshakes -d 'Whether connections are accepted and opened inside a core\'s ring, without a descriptor or a task of their own; auto does so from Linux 6.8 on, where neither TLS is spoken nor proxies say whose they are [default: auto] [allowed: auto, never]' -r -f -a "auto\t''
never\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l zerocopy -d 'Whether large sends skip the kernel\'s copy; auto stops where the kernel copies anyway [default: auto] [allowed: auto, always, never]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l defer-accept -d 'Whether the kernel keeps a new connection until its first bytes are there, for a second at most (TCP_DEFER_ACCEPT), which makes handshakes cheaper; with off, who connects and says nothing is seen at once [default: on] [allowed: on, off]' -r -f -a "on\t''
off\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l keepalive -d 'How it is asked: with a WebSocket ping, or by the kernel with TCP\'s keepalive, which wakes nobody; clients of Centrifugo\'s and Pusher\'s protocols and streams of events have the pings of theirs either way [default: ping] [allowed: ping, kernel]' -r -f -a "ping\t''
kernel\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l centrifugo -d 'Centrifugo\'s client protocol on /connection/websocket [default: on] [allowed: on, off]' -r -f -a "on\t''
off\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l event-streams -d 'Server-Sent Events: a topic on its own path, many on /events [default: on] [allowed: on, off]' -r -f -a "on\t''
off\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l mercure -d 'Mercure\'s protocol (0.x) on /.well-known/mercure: streams of exact topics, and updates of one topic where the server API is [default: on] [allowed: on, off]' -r -f -a "on\t''
off\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l presence -d 'Whether clients may ask who follows a topic; on costs some 200 bytes for each who does [default: off] [allowed: on, off]' -r -f -a "on\t''
off\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l partial-bytes-max -d 'Size of all half-received messages together [default: auto] [allowed: 1 KiB to 64 GiB, or auto for 256 MiB, but at most 1/8 of the memory that the process may use]' -r -f -a "auto\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l api-error-mode -d 'Where errors of Centrifugo\'s server API are told: in the body of an answer with status 200, or by a status too [default: body] [allowed: body, transport]' -r -f -a "body\t''
transport\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l deflate -d 'permessage-deflate; takeover lets clients refer to earlier messages, at 32 KiB each [default: on] [allowed: on, takeover, off]' -r -f -a "on\t''
takeover\t''
off\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l log-bytes-total-max -d 'Size of the logs of all topics together [default: auto] [allowed: 64 KiB to 1 TiB, or auto for 1 GiB, but at most 1/4 of the memory that the process may use]' -r -f -a "auto\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l keep -d 'What keeps a topic\'s messages: memory; the folder named by store as well, so that history outlives the process; or the cluster\'s NATS servers [default: memory] [allowed: memory, disk, cluster]' -r -f -a "memory\t''
disk\t''
cluster\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l lag-policy -d 'A subscriber that lags is closed with 1013, or with a notice goes on behind the newest message (skip) or with it (latest) [default: close] [allowed: close, skip, latest]' -r -f -a "close\t''
skip\t''
latest\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l cluster-tls -d 'TLS to the NATS servers: where the address (tls://) or the server asks for it or a file below is named, or always [default: auto] [allowed: auto, on]' -r -f -a "auto\t''
on\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l cluster-storage -d 'Where the NATS servers keep messages; for a stream that is made [default: file] [allowed: file, memory]' -r -f -a "file\t''
memory\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -l cluster-ready -d 'Whether /readyz answers 503 while the NATS servers are away [default: off] [allowed: on, off]' -r -f -a "on\t''
off\t''"
complete -c fanfare -n "__fish_fanfare_using_subcommand upgrade" -s h -l help -d 'Print help'
complete -c fanfare -n "__fish_fanfare_using_subcommand help; and not __fish_seen_subcommand_from check-config probe subscribe publish top serve upgrade help" -f -a "check-config" -d 'Say whether a settings file is right, or what is wrong in which line'
complete -c fanfare -n "__fish_fanfare_using_subcommand help; and not __fish_seen_subcommand_from check-config probe subscribe publish top serve upgrade help" -f -a "probe" -d 'Say whether this kernel and its limits offer what fanfare needs, or what is missing'
complete -c fanfare -n "__fish_fanfare_using_subcommand help; and not __fish_seen_subcommand_from check-config probe subscribe publish top serve upgrade help" -f -a "subscribe" -d 'Write what is published to topics to standard output, a line for each message'
complete -c fanfare -n "__fish_fanfare_using_subcommand help; and not __fish_seen_subcommand_from check-config probe subscribe publish top serve upgrade help" -f -a "publish" -d 'Publish each line of standard input to a topic, or one message'
complete -c fanfare -n "__fish_fanfare_using_subcommand help; and not __fish_seen_subcommand_from check-config probe subscribe publish top serve upgrade help" -f -a "top" -d 'Show what a daemon does: rates, topics, slow connections, cores, limits, warnings'
complete -c fanfare -n "__fish_fanfare_using_subcommand help; and not __fish_seen_subcommand_from check-config probe subscribe publish top serve upgrade help" -f -a "serve" -d 'Serve; also what happens without a command'
complete -c fanfare -n "__fish_fanfare_using_subcommand help; and not __fish_seen_subcommand_from check-config probe subscribe publish top serve upgrade help" -f -a "upgrade" -d 'Have the running daemon hand over to a newer one without a disconnect'
complete -c fanfare -n "__fish_fanfare_using_subcommand help; and not __fish_seen_subcommand_from check-config probe subscribe publish top serve upgrade help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
