-- A small mesh as a Headscale server of version 0.26 or later keeps it, in the columns that matter here.
CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, display_name TEXT, email TEXT, provider_identifier TEXT,
  created_at DATETIME, deleted_at DATETIME);
CREATE TABLE pre_auth_keys (id INTEGER PRIMARY KEY, key TEXT, prefix TEXT, hash BLOB, user_id INTEGER, reusable NUMERIC,
  ephemeral NUMERIC, used NUMERIC, tags TEXT, expiration DATETIME, created_at DATETIME);
CREATE TABLE api_keys (id INTEGER PRIMARY KEY, prefix TEXT, hash BLOB, expiration DATETIME, created_at DATETIME);
CREATE TABLE nodes (id INTEGER PRIMARY KEY, machine_key TEXT, node_key TEXT, disco_key TEXT, endpoints TEXT,
  host_info TEXT, ipv4 TEXT, ipv6 TEXT, hostname TEXT, given_name TEXT, user_id INTEGER, register_method TEXT, tags TEXT,
  auth_key_id INTEGER, last_seen DATETIME, expiry DATETIME, approved_routes TEXT, created_at DATETIME, deleted_at DATETIME);
CREATE TABLE policies (id INTEGER PRIMARY KEY, data TEXT, created_at DATETIME, deleted_at DATETIME);

INSERT INTO users VALUES
  (1, 'alice', 'Alice', 'alice@example.org', NULL, '2025-03-01 10:00:00.123456789+00:00', NULL),
  (2, 'Bob@example.org', '', '', 'https://id.example/7', '2025-03-02 10:00:00+02:00', NULL),
  (3, 'gone', '', '', NULL, '2025-03-02 10:00:00+00:00', '2025-04-01 10:00:00+00:00');
INSERT INTO pre_auth_keys VALUES
  (1, '0123456789abcdef0123456789abcdef0123456789abcdef', '', NULL, 1, 1, 0, 0, '[]', '2099-01-01 00:00:00+00:00',
   '2025-03-01 10:00:00+00:00'),
  (2, '', 'abcdefghijkl', x'00', 1, 0, 1, 0, '[]', '2099-01-01 00:00:00+00:00', '2025-03-01 10:00:00+00:00'),
  (3, 'expired', '', NULL, 1, 1, 0, 0, '[]', '2025-03-02 00:00:00+00:00', '2025-03-01 10:00:00+00:00');
INSERT INTO api_keys VALUES (1, 'zyxwvut', x'00', '2099-01-01 00:00:00+00:00', '2025-03-01 10:00:00+00:00');
INSERT INTO nodes VALUES
  (4, 'mkey:0404040404040404040404040404040404040404040404040404040404040404',
   'nodekey:0404040404040404040404040404040404040404040404040404040404040404',
   'discokey:0404040404040404040404040404040404040404040404040404040404040404',
   '["192.0.2.4:41641","[2001:db8::4]:41641"]',
   '{"OS":"linux","Hostname":"router","RoutableIPs":["10.4.0.0/24","10.5.0.0/24"],"NetInfo":{"PreferredDERP":7}}',
   '100.64.0.1', 'fd7a:115c:a1e0::1', 'router', 'router', 1, 'authkey', '[]', 1, '2025-05-01 10:00:00+00:00', NULL,
   '["10.4.0.0/24"]', '2025-03-01 11:00:00+00:00', NULL),
  (5, 'mkey:0505050505050505050505050505050505050505050505050505050505050505',
   'nodekey:0505050505050505050505050505050505050505050505050505050505050505', NULL, '[]', NULL,
   NULL, 'fd7a:115c:a1e0::2', 'Phone', 'bobs-phone', 2, 'oidc', NULL, NULL, NULL, '2099-01-01 00:00:00+00:00', NULL,
   '2025-03-01 11:00:00+00:00', NULL),
  (7, 'mkey:0707070707070707070707070707070707070707070707070707070707070707',
   'nodekey:0707070707070707070707070707070707070707070707070707070707070707', NULL, '[]', '{"broken',
   '100.64.0.7', 'fd7a:115c:a1e0::7', 'db', 'db', NULL, 'authkey', '["tag:db"]', 2, NULL, '0001-01-01 00:00:00+00:00',
   '[]', '2025-03-01 11:00:00+00:00', NULL),
  (8, 'mkey:08', 'nodekey:08', NULL, '[]', NULL, '100.64.0.8', NULL, 'torn', 'torn', 1, 'authkey', NULL, NULL, NULL, NULL,
   NULL, '2025-03-01 11:00:00+00:00', NULL),
  (9, 'mkey:0909090909090909090909090909090909090909090909090909090909090909',
   'nodekey:0909090909090909090909090909090909090909090909090909090909090909', NULL, '[]', NULL,
   '100.64.0.9', NULL, 'old', 'old', 1, 'authkey', NULL, NULL, NULL, NULL, NULL, '2025-03-01 11:00:00+00:00',
   '2025-04-01 10:00:00+00:00');
INSERT INTO policies VALUES
  (1, '{"acls": []}', '2025-03-01 10:00:00+00:00', NULL),
  (2, '{"tagOwners": {"tag:db": ["alice@example.org"]}, "acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}]} // all',
   '2025-03-02 10:00:00+00:00', NULL);
