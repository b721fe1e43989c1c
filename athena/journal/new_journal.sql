BEGIN TRANSACTION;
CREATE TABLE account (
	id INTEGER NOT NULL, 
	venue TEXT NOT NULL, 
	account_number TEXT NOT NULL, 
	opening_cash TEXT NOT NULL, 
	opening_equity TEXT NOT NULL, 
	bound_at TEXT NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0008');
CREATE TABLE alerts (
	id TEXT NOT NULL, 
	sequence INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	severity TEXT NOT NULL, 
	labels TEXT NOT NULL, 
	annotations TEXT NOT NULL, 
	starts_at TEXT NOT NULL, 
	received_at TEXT NOT NULL, 
	resolved_at TEXT, 
	playbook TEXT NOT NULL, 
	parameters TEXT NOT NULL, 
	action TEXT NOT NULL, 
	drill INTEGER NOT NULL, 
	problem TEXT NOT NULL, 
	state TEXT NOT NULL, 
	acted TEXT, 
	run TEXT, 
	verdict TEXT, 
	reason TEXT, 
	next_action TEXT, 
	page TEXT, 
	notified_at TEXT, 
	told INTEGER NOT NULL, attempts INTEGER DEFAULT '0' NOT NULL, heard_at TEXT, 
	PRIMARY KEY (id)
)
 WITHOUT ROWID

;
CREATE TABLE broker_states (
	sequence INTEGER NOT NULL, 
	at TEXT NOT NULL, 
	broker TEXT NOT NULL, 
	state TEXT NOT NULL, 
	previous TEXT, 
	reason TEXT, 
	PRIMARY KEY (sequence)
);
CREATE TABLE cash_flows (
	id TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	amount TEXT NOT NULL, 
	at TEXT NOT NULL, 
	trading_date TEXT NOT NULL, 
	description TEXT NOT NULL, 
	PRIMARY KEY (id)
)
 WITHOUT ROWID

;
CREATE TABLE commands (
	id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	arguments TEXT NOT NULL, 
	requested_by TEXT NOT NULL, 
	requested_at TEXT NOT NULL, 
	expires_at TEXT, 
	status TEXT NOT NULL, 
	result TEXT, 
	finished_at TEXT, 
	PRIMARY KEY (id)
)
 WITHOUT ROWID

;
CREATE TABLE deliveries (
	id TEXT NOT NULL, 
	notification_id TEXT NOT NULL, 
	channel TEXT NOT NULL, 
	status TEXT NOT NULL, 
	queued_at TEXT NOT NULL, 
	next_at TEXT NOT NULL, 
	attempts INTEGER NOT NULL, 
	unsure INTEGER NOT NULL, 
	claim TEXT, 
	lease_until TEXT, 
	pause_until TEXT, 
	error TEXT, 
	finished_at TEXT, 
	PRIMARY KEY (id)
)
 WITHOUT ROWID

;
CREATE TABLE equity (
	sequence INTEGER NOT NULL, 
	venue_at TEXT NOT NULL, 
	trading_date TEXT NOT NULL, 
	equity TEXT NOT NULL, 
	cash TEXT NOT NULL, 
	realised_pnl TEXT, 
	unrealised_pnl TEXT, 
	PRIMARY KEY (sequence)
);
CREATE TABLE events (
	sequence INTEGER NOT NULL, 
	at TEXT NOT NULL, 
	venue_at TEXT, 
	kind TEXT NOT NULL, 
	actor TEXT NOT NULL, 
	host TEXT NOT NULL, 
	pid INTEGER NOT NULL, 
	payload TEXT NOT NULL, 
	previous_hash TEXT NOT NULL, 
	hash TEXT NOT NULL, 
	PRIMARY KEY (sequence)
);
CREATE TABLE fills (
	execution_id TEXT NOT NULL, 
	sequence INTEGER NOT NULL, 
	client_order_id TEXT NOT NULL, 
	broker_order_id TEXT, 
	strategy TEXT NOT NULL, 
	symbol TEXT NOT NULL, 
	side TEXT NOT NULL, 
	quantity TEXT NOT NULL, 
	price TEXT NOT NULL, 
	fee TEXT NOT NULL, 
	at TEXT NOT NULL, 
	recorded_at TEXT NOT NULL, 
	trading_date TEXT NOT NULL, 
	bid TEXT, 
	ask TEXT, 
	source TEXT, 
	PRIMARY KEY (execution_id)
)
 WITHOUT ROWID

;
CREATE TABLE guard (
	id INTEGER NOT NULL, 
	epoch INTEGER NOT NULL, 
	mode TEXT NOT NULL, 
	nonce TEXT NOT NULL, 
	updated_at TEXT, 
	PRIMARY KEY (id)
);
INSERT INTO "guard" VALUES(1,0,'halted','0',NULL);
CREATE TABLE halts (
	id TEXT NOT NULL, 
	scope TEXT NOT NULL, 
	target TEXT NOT NULL, 
	mode TEXT NOT NULL, 
	origin TEXT NOT NULL, 
	owner TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	nonce TEXT NOT NULL, 
	at TEXT NOT NULL, 
	venue_at TEXT, 
	expires_at TEXT, 
	cleared_at TEXT, 
	cleared_by TEXT, 
	cleared_reason TEXT, 
	PRIMARY KEY (id)
)
 WITHOUT ROWID

;
CREATE TABLE heartbeats (
	component TEXT NOT NULL, 
	pid INTEGER NOT NULL, 
	host TEXT NOT NULL, 
	started_at TEXT NOT NULL, 
	at TEXT NOT NULL, 
	venue_at TEXT, 
	details TEXT NOT NULL, 
	PRIMARY KEY (component)
)
 WITHOUT ROWID

;
CREATE TABLE kept_quotes (
	trading_date TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	subject TEXT NOT NULL, 
	offset_ms INTEGER NOT NULL, 
	symbol TEXT NOT NULL, 
	at TEXT NOT NULL, 
	bid TEXT NOT NULL, 
	ask TEXT NOT NULL, 
	quoted_at TEXT NOT NULL, 
	PRIMARY KEY (trading_date, kind, subject, offset_ms)
)
 WITHOUT ROWID

;
CREATE TABLE limits (
	name TEXT NOT NULL, 
	target TEXT NOT NULL, 
	value TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	changed_at TEXT NOT NULL, 
	changed_by TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	PRIMARY KEY (name, target)
)
 WITHOUT ROWID

;
CREATE TABLE marks (
	symbol TEXT NOT NULL, 
	bid TEXT, 
	ask TEXT, 
	bid_size TEXT, 
	ask_size TEXT, 
	last TEXT, 
	venue_at TEXT NOT NULL, 
	at TEXT NOT NULL, 
	PRIMARY KEY (symbol)
)
 WITHOUT ROWID

;
CREATE TABLE notifications (
	id TEXT NOT NULL, 
	sequence INTEGER NOT NULL, 
	at TEXT NOT NULL, 
	severity TEXT NOT NULL, 
	title TEXT NOT NULL, 
	body TEXT NOT NULL, 
	dedup_key TEXT, 
	source TEXT NOT NULL, 
	page TEXT, 
	mail TEXT, 
	PRIMARY KEY (id)
)
 WITHOUT ROWID

;
CREATE TABLE openings (
	symbol TEXT NOT NULL, 
	quantity TEXT NOT NULL, 
	price TEXT NOT NULL, 
	at TEXT NOT NULL, mark TEXT, 
	PRIMARY KEY (symbol)
)
 WITHOUT ROWID

;
CREATE TABLE orders (
	client_order_id TEXT NOT NULL, 
	broker_order_id TEXT, 
	strategy TEXT NOT NULL, 
	symbol TEXT NOT NULL, 
	side TEXT NOT NULL, 
	type TEXT NOT NULL, 
	time_in_force TEXT, 
	quantity TEXT, 
	limit_price TEXT, 
	stop_price TEXT, 
	extended_hours INTEGER NOT NULL, 
	purpose TEXT NOT NULL, 
	status TEXT NOT NULL, 
	filled_quantity TEXT NOT NULL, 
	average_fill_price TEXT, 
	decision_price TEXT, 
	decided_at TEXT, 
	bid TEXT, 
	ask TEXT, 
	reason TEXT, 
	error TEXT, 
	intended_at TEXT NOT NULL, 
	intended_venue_at TEXT, 
	acknowledged_at TEXT, 
	updated_at TEXT NOT NULL, 
	final_venue_at TEXT, 
	trading_date TEXT NOT NULL, 
	PRIMARY KEY (client_order_id)
)
 WITHOUT ROWID

;
CREATE TABLE reconciliations (
	sequence INTEGER NOT NULL, 
	at TEXT NOT NULL, 
	venue_at TEXT, 
	"trigger" TEXT NOT NULL, 
	ok INTEGER NOT NULL, 
	breaks TEXT NOT NULL, 
	checked TEXT NOT NULL, 
	PRIMARY KEY (sequence)
);
CREATE TABLE schedule_runs (
	id TEXT NOT NULL, 
	job TEXT NOT NULL, 
	trading_date TEXT NOT NULL, 
	due_at TEXT NOT NULL, 
	status TEXT NOT NULL, 
	attempts INTEGER NOT NULL, 
	claim TEXT, 
	lease_until TEXT, 
	started_at TEXT NOT NULL, 
	finished_at TEXT, 
	result TEXT, 
	PRIMARY KEY (id)
)
 WITHOUT ROWID

;
CREATE TABLE trading_days (
	trading_date TEXT NOT NULL, 
	opening_equity TEXT NOT NULL, 
	opened_at TEXT NOT NULL, 
	PRIMARY KEY (trading_date)
)
 WITHOUT ROWID

;
CREATE TABLE violations (
	sequence INTEGER NOT NULL, 
	at TEXT NOT NULL, 
	venue_at TEXT, 
	trading_date TEXT NOT NULL, 
	code TEXT NOT NULL, 
	message TEXT NOT NULL, 
	symbol TEXT, 
	strategy TEXT, 
	observed TEXT, 
	limit_value TEXT, 
	client_order_id TEXT, 
	action TEXT, times INTEGER DEFAULT '1' NOT NULL, 
	PRIMARY KEY (sequence)
);
CREATE INDEX orders_date ON orders (trading_date);
CREATE INDEX fills_order ON fills (client_order_id);
CREATE INDEX fills_date ON fills (trading_date);
CREATE INDEX violations_date ON violations (trading_date);
CREATE INDEX equity_date ON equity (trading_date);
CREATE INDEX commands_status ON commands (status);
CREATE INDEX events_rare ON events (kind) WHERE kind NOT IN ('order.intended', 'order.updated', 'fill', 'equity');
CREATE INDEX orders_open ON orders (status) WHERE status NOT IN ('refused', 'not_sent', 'filled', 'canceled', 'expired', 'rejected', 'replaced');
CREATE INDEX alerts_unfinished ON alerts (state) WHERE state <> 'notified' OR resolved_at IS NULL OR told = 0;
CREATE INDEX notifications_dedup ON notifications (dedup_key);
CREATE INDEX deliveries_channel ON deliveries (channel, finished_at);
CREATE INDEX deliveries_unsent ON deliveries (status) WHERE status <> 'sent';
CREATE INDEX alerts_notified ON alerts (notified_at);
COMMIT;
