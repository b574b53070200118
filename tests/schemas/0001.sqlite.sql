BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE changes (
	id CHAR(36) NOT NULL, 
	at DATETIME NOT NULL, 
	user_id VARCHAR(36) NOT NULL, 
	user_name VARCHAR(100) NOT NULL, 
	action VARCHAR(32) NOT NULL, 
	kind VARCHAR(32) NOT NULL, 
	object_id VARCHAR(36) NOT NULL, 
	organization_path TEXT NOT NULL, 
	details JSON NOT NULL, 
	CONSTRAINT pk_changes PRIMARY KEY (id)
);
INSERT INTO "changes" VALUES('019ca880-0000-7000-8000-000000000047','2026-03-01 08:30:15.250000','019ca880-0000-7000-8000-00000000000b','chief','update','point','019ca880-0000-7000-8000-000000000029','shenhe/wanlian/room-07','{"name":["旧","北门 North gate"]}');
CREATE TABLE channels (
	id CHAR(36) NOT NULL, 
	version INTEGER NOT NULL, 
	system_id CHAR(36) NOT NULL, 
	address VARCHAR(200) NOT NULL, 
	name VARCHAR(200) NOT NULL, 
	organization_id CHAR(36) NOT NULL, 
	kind VARCHAR(8) NOT NULL, 
	priority INTEGER NOT NULL, 
	gateway_unit_id VARCHAR(64) NOT NULL, 
	hold_s DOUBLE, 
	echo_s DOUBLE, 
	created_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, 
	CONSTRAINT pk_channels PRIMARY KEY (id), 
	CONSTRAINT ck_channels_kind CHECK (kind IN ('trunk', 'ptt')), 
	CONSTRAINT ck_channels_priority CHECK (priority BETWEEN 0 AND 255), 
	CONSTRAINT fk_channels_organization_id_organizations FOREIGN KEY(organization_id) REFERENCES organizations (id), 
	CONSTRAINT fk_channels_system_id_systems FOREIGN KEY(system_id) REFERENCES systems (id), 
	CONSTRAINT uq_channels_system_id_address UNIQUE (system_id, address)
);
INSERT INTO "channels" VALUES('019ca880-0000-7000-8000-000000000020',1,'019ca880-0000-7000-8000-00000000001f','1/3101','一组','019ca880-0000-7000-8000-000000000002','trunk',3,'9990',1.5,NULL,'2026-03-01 08:30:15.250000','2026-03-01 08:30:15.250000');
INSERT INTO "channels" VALUES('019ca880-0000-7000-8000-000000000021',1,'019ca880-0000-7000-8000-00000000001f','1/3102','二组','019ca880-0000-7000-8000-000000000002','trunk',3,'9990',1.5,NULL,'2026-03-01 08:30:15.250000','2026-03-01 08:30:15.250000');
CREATE TABLE devices (
	id CHAR(36) NOT NULL, 
	version INTEGER NOT NULL, 
	adapter VARCHAR(64) NOT NULL, 
	endpoint VARCHAR(500) NOT NULL, 
	name VARCHAR(200) NOT NULL, 
	organization_id CHAR(36) NOT NULL, 
	username VARCHAR(200) NOT NULL, 
	secret BLOB, 
	settings JSON NOT NULL, 
	manufacturer VARCHAR(200) NOT NULL, 
	model VARCHAR(200) NOT NULL, 
	serial VARCHAR(200) NOT NULL, 
	firmware VARCHAR(200) NOT NULL, 
	endpoint_reference VARCHAR(200) NOT NULL, 
	clock_offset_s DOUBLE, 
	status VARCHAR(8) NOT NULL, 
	status_since DATETIME NOT NULL, 
	last_error TEXT NOT NULL, 
	sources JSON NOT NULL, 
	created_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, 
	CONSTRAINT pk_devices PRIMARY KEY (id), 
	CONSTRAINT ck_devices_status CHECK (status IN ('online', 'offline', 'fault', 'unknown')), 
	CONSTRAINT fk_devices_organization_id_organizations FOREIGN KEY(organization_id) REFERENCES organizations (id), 
	CONSTRAINT uq_devices_organization_id_adapter_endpoint UNIQUE (organization_id, adapter, endpoint)
);
INSERT INTO "devices" VALUES('019ca880-0000-7000-8000-000000000015',1,'onvif','http://192.0.2.7/onvif/device_service','north','019ca880-0000-7000-8000-000000000004','admin',X'017365616C6564','{"timeout_s":5}','Example','IPC-1','S1','1.2','urn:uuid:1',1.5,'online','2026-03-01 08:30:15.250000','','[{"address":"v1","name":"one","channel_number":null}]','2026-03-01 08:30:15.250000','2026-03-01 08:30:15.250000');
CREATE TABLE jobs (
	id CHAR(36) NOT NULL, 
	kind VARCHAR(64) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	done INTEGER NOT NULL, 
	total INTEGER NOT NULL, 
	report JSON NOT NULL, 
	user_id VARCHAR(36) NOT NULL, 
	idempotency_key VARCHAR(200), 
	created_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, 
	CONSTRAINT pk_jobs PRIMARY KEY (id), 
	CONSTRAINT ck_jobs_state CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')), 
	CONSTRAINT uq_jobs_user_id_kind_idempotency_key UNIQUE (user_id, kind, idempotency_key)
);
INSERT INTO "jobs" VALUES('019ca880-0000-7000-8000-00000000003d','import','done',3,3,'{"created":3}','019ca880-0000-7000-8000-00000000000b','k1','2026-03-01 08:30:15.250000','2026-03-01 08:30:15.250000');
CREATE TABLE organizations (
	id CHAR(36) NOT NULL, 
	version INTEGER NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	name VARCHAR(200) NOT NULL, 
	slug VARCHAR(63) NOT NULL, 
	path TEXT NOT NULL, 
	depth INTEGER NOT NULL, 
	parent_id CHAR(36), 
	code VARCHAR(12), 
	region VARCHAR(12), 
	jurisdiction JSON, 
	area_m2 BIGINT, 
	west_deg DOUBLE, 
	south_deg DOUBLE, 
	east_deg DOUBLE, 
	north_deg DOUBLE, 
	created_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, 
	CONSTRAINT pk_organizations PRIMARY KEY (id), 
	CONSTRAINT ck_organizations_root_is_district CHECK (kind = 'district' OR parent_id IS NOT NULL), 
	CONSTRAINT ck_organizations_kind CHECK (kind IN ('district', 'station', 'workroom')), 
	CONSTRAINT fk_organizations_parent_id_organizations FOREIGN KEY(parent_id) REFERENCES organizations (id), 
	CONSTRAINT uq_organizations_code UNIQUE (code), 
	CONSTRAINT uq_organizations_path UNIQUE (path)
);
INSERT INTO "organizations" VALUES('019ca880-0000-7000-8000-000000000001',1,'district','沈河区','shenhe','shenhe',1,NULL,NULL,'210103',NULL,NULL,NULL,NULL,NULL,NULL,'2026-03-01 08:30:15.250000','2026-03-01 08:30:15.250000');
INSERT INTO "organizations" VALUES('019ca880-0000-7000-8000-000000000002',1,'station','万莲派出所','wanlian','shenhe/wanlian',2,'019ca880-0000-7000-8000-000000000001','210103590000',NULL,NULL,NULL,NULL,NULL,NULL,NULL,'2026-03-01 08:30:15.250000','2026-03-01 08:30:15.250000');
INSERT INTO "organizations" VALUES('019ca880-0000-7000-8000-000000000003',1,'station','山东庙派出所','shandongmiao','shenhe/shandongmiao',2,'019ca880-0000-7000-8000-000000000001',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'2026-03-01 08:30:15.250000','2026-03-01 08:30:15.250000');
INSERT INTO "organizations" VALUES('019ca880-0000-7000-8000-000000000004',1,'workroom','七室','room-07','shenhe/wanlian/room-07',3,'019ca880-0000-7000-8000-000000000002',NULL,NULL,'{"type":"Polygon","coordinates":[[[123.4,41.8],[123.5,41.8],[123.5,41.9],[123.4,41.9],[123.4,41.8]]]}',92085120,123.4,41.8,123.5,41.9,'2026-03-01 08:30:15.250000','2026-03-01 08:30:15.250000');
CREATE TABLE patch_members (
	patch_id CHAR(36) NOT NULL, 
	channel_id CHAR(36) NOT NULL, 
	position INTEGER NOT NULL, 
	direction VARCHAR(8) NOT NULL, 
	priority INTEGER NOT NULL, 
	CONSTRAINT pk_patch_members PRIMARY KEY (patch_id, channel_id), 
	CONSTRAINT ck_patch_members_direction CHECK (direction IN ('both', 'talk', 'listen')), 
	CONSTRAINT ck_patch_members_priority CHECK (priority BETWEEN 0 AND 255), 
	CONSTRAINT fk_patch_members_channel_id_channels FOREIGN KEY(channel_id) REFERENCES channels (id), 
	CONSTRAINT fk_patch_members_patch_id_patches FOREIGN KEY(patch_id) REFERENCES patches (id) ON DELETE CASCADE
);
INSERT INTO "patch_members" VALUES('019ca880-0000-7000-8000-000000000022','019ca880-0000-7000-8000-000000000020',0,'both',0);
INSERT INTO "patch_members" VALUES('019ca880-0000-7000-8000-000000000022','019ca880-0000-7000-8000-000000000021',1,'both',0);
CREATE TABLE patches (
	id CHAR(36) NOT NULL, 
	version INTEGER NOT NULL, 
	name VARCHAR(200) NOT NULL, 
	organization_id CHAR(36) NOT NULL, 
	enabled BOOLEAN NOT NULL, 
	hang_s DOUBLE NOT NULL, 
	max_talk_s DOUBLE NOT NULL, 
	queue BOOLEAN NOT NULL, 
	until DATETIME, 
	schedule JSON, 
	voice VARCHAR(8) NOT NULL, 
	created_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, 
	CONSTRAINT pk_patches PRIMARY KEY (id), 
	CONSTRAINT ck_patches_voice CHECK (voice IN ('frames', 'silence', 'events')), 
	CONSTRAINT ck_patches_times CHECK (hang_s >= 0 AND max_talk_s > 0), 
	CONSTRAINT fk_patches_organization_id_organizations FOREIGN KEY(organization_id) REFERENCES organizations (id)
);
INSERT INTO "patches" VALUES('019ca880-0000-7000-8000-000000000022',1,'joined','019ca880-0000-7000-8000-000000000002',1,2.0,60.0,0,NULL,'{"days":[1,2,3],"from":"08:00","to":"20:00"}','silence','2026-03-01 08:30:15.250000','2026-03-01 08:30:15.250000');
CREATE TABLE points (
	id CHAR(36) NOT NULL, 
	version INTEGER NOT NULL, 
	code VARCHAR(20), 
	name VARCHAR(200) NOT NULL, 
	place VARCHAR(400) NOT NULL, 
	organization_id CHAR(36) NOT NULL, 
	home_id CHAR(36) NOT NULL, 
	assigned_by VARCHAR(8) NOT NULL, 
	longitude DOUBLE, 
	latitude DOUBLE, 
	category SMALLINT NOT NULL, 
	ownership VARCHAR(16) NOT NULL, 
	device_id CHAR(36), 
	address VARCHAR(200), 
	host VARCHAR(255), 
	channel_number INTEGER, 
	profiles JSON NOT NULL, 
	capabilities JSON NOT NULL, 
	masked BOOLEAN NOT NULL, 
	status VARCHAR(8) NOT NULL, 
	status_since DATETIME NOT NULL, 
	status_reason TEXT NOT NULL, 
	attributes JSON NOT NULL, 
	created_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, 
	CONSTRAINT pk_points PRIMARY KEY (id), 
	CONSTRAINT ck_points_assigned_by CHECK (assigned_by IN ('explicit', 'polygon', 'none')), 
	CONSTRAINT ck_points_ownership CHECK (ownership IN ('public_security', 'community', 'property', 'enterprise', 'other')), 
	CONSTRAINT ck_points_status CHECK (status IN ('online', 'offline', 'fault', 'unknown')), 
	CONSTRAINT ck_points_source_is_whole CHECK ((device_id IS NULL) = (address IS NULL)), 
	CONSTRAINT ck_points_position_is_whole CHECK ((longitude IS NULL) = (latitude IS NULL)), 
	CONSTRAINT ck_points_category CHECK (category IN (1, 2, 3, 9)), 
	CONSTRAINT ck_points_position CHECK (longitude BETWEEN -180 AND 180 AND latitude BETWEEN -90 AND 90), 
	CONSTRAINT fk_points_device_id_devices FOREIGN KEY(device_id) REFERENCES devices (id), 
	CONSTRAINT fk_points_home_id_organizations FOREIGN KEY(home_id) REFERENCES organizations (id), 
	CONSTRAINT fk_points_organization_id_organizations FOREIGN KEY(organization_id) REFERENCES organizations (id), 
	CONSTRAINT uq_points_code UNIQUE (code), 
	CONSTRAINT uq_points_device_id_address UNIQUE (device_id, address)
);
INSERT INTO "points" VALUES('019ca880-0000-7000-8000-000000000029',1,'21010300001320000001','北门 North gate','万莲路 7 号','019ca880-0000-7000-8000-000000000004','019ca880-0000-7000-8000-000000000001','polygon',123.45,41.85,1,'public_security','019ca880-0000-7000-8000-000000000015','v1',NULL,NULL,'[{"name":"main","codec":"h264","width":1920,"height":1080}]','["ptz"]',0,'online','2026-03-01 08:30:15.250000','','{"mac":"00:11:22:33:44:55"}','2026-03-01 08:30:15.250000','2026-03-01 08:30:15.250000');
INSERT INTO "points" VALUES('019ca880-0000-7000-8000-00000000002a',1,NULL,'街角','万莲路 7 号','019ca880-0000-7000-8000-000000000002','019ca880-0000-7000-8000-000000000001','explicit',NULL,NULL,1,'public_security',NULL,NULL,'192.0.2.7',3,'[]','[]',0,'unknown','2026-03-01 08:30:15.250000','','{}','2026-03-01 08:30:15.250000','2026-03-01 08:30:15.250000');
INSERT INTO "points" VALUES('019ca880-0000-7000-8000-00000000002b',1,NULL,'大院','万莲路 7 号','019ca880-0000-7000-8000-000000000001','019ca880-0000-7000-8000-000000000001','none',123.9,41.2,1,'public_security',NULL,NULL,NULL,NULL,'[]','[]',1,'unknown','2026-03-01 08:30:15.250000','','{}','2026-03-01 08:30:15.250000','2026-03-01 08:30:15.250000');
CREATE TABLE roles (
	user_id CHAR(36) NOT NULL, 
	role VARCHAR(16) NOT NULL, 
	organization_id CHAR(36) NOT NULL, 
	purpose TEXT NOT NULL, 
	ends_at DATETIME, 
	CONSTRAINT pk_roles PRIMARY KEY (user_id, role, organization_id), 
	CONSTRAINT ck_roles_role CHECK (role IN ('viewer', 'dispatcher', 'integrator', 'auditor', 'clear_view', 'admin')), 
	CONSTRAINT fk_roles_organization_id_organizations FOREIGN KEY(organization_id) REFERENCES organizations (id), 
	CONSTRAINT fk_roles_user_id_users FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);
INSERT INTO "roles" VALUES('019ca880-0000-7000-8000-00000000000b','admin','019ca880-0000-7000-8000-000000000001','',NULL);
INSERT INTO "roles" VALUES('019ca880-0000-7000-8000-00000000000c','clear_view','019ca880-0000-7000-8000-000000000002','case 7','2026-03-02 08:30:15.250000');
CREATE TABLE sessions (
	id CHAR(36) NOT NULL, 
	user_id CHAR(36) NOT NULL, 
	token_hash BLOB NOT NULL, 
	signed_in_at DATETIME NOT NULL, 
	created_at DATETIME NOT NULL, 
	expires_at DATETIME NOT NULL, 
	CONSTRAINT pk_sessions PRIMARY KEY (id), 
	CONSTRAINT fk_sessions_user_id_users FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE, 
	CONSTRAINT uq_sessions_token_hash UNIQUE (token_hash)
);
INSERT INTO "sessions" VALUES('019ca880-0000-7000-8000-00000000000d','019ca880-0000-7000-8000-00000000000b',X'000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F','2026-03-01 08:30:15.250000','2026-03-01 08:30:15.250000','2026-03-01 20:30:15.250000');
CREATE TABLE systems (
	id CHAR(36) NOT NULL, 
	version INTEGER NOT NULL, 
	adapter VARCHAR(64) NOT NULL, 
	name VARCHAR(200) NOT NULL, 
	organization_id CHAR(36) NOT NULL, 
	settings JSON NOT NULL, 
	secrets BLOB, 
	enabled BOOLEAN NOT NULL, 
	created_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, 
	CONSTRAINT pk_systems PRIMARY KEY (id), 
	CONSTRAINT fk_systems_organization_id_organizations FOREIGN KEY(organization_id) REFERENCES organizations (id), 
	CONSTRAINT uq_systems_organization_id_name UNIQUE (organization_id, name)
);
INSERT INTO "systems" VALUES('019ca880-0000-7000-8000-00000000001f',1,'homebrew','trunk','019ca880-0000-7000-8000-000000000002','{"port":62031}',X'017365616C6564',1,'2026-03-01 08:30:15.250000','2026-03-01 08:30:15.250000');
CREATE TABLE unit_addresses (
	system_id CHAR(36) NOT NULL, 
	address VARCHAR(200) NOT NULL, 
	unit_id CHAR(36) NOT NULL, 
	CONSTRAINT pk_unit_addresses PRIMARY KEY (system_id, address), 
	CONSTRAINT fk_unit_addresses_system_id_systems FOREIGN KEY(system_id) REFERENCES systems (id), 
	CONSTRAINT fk_unit_addresses_unit_id_units FOREIGN KEY(unit_id) REFERENCES units (id) ON DELETE CASCADE
);
INSERT INTO "unit_addresses" VALUES('019ca880-0000-7000-8000-00000000001f','3101001','019ca880-0000-7000-8000-000000000023');
CREATE TABLE units (
	id CHAR(36) NOT NULL, 
	version INTEGER NOT NULL, 
	alias VARCHAR(200) NOT NULL, 
	organization_id CHAR(36) NOT NULL, 
	priority INTEGER NOT NULL, 
	created_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, 
	CONSTRAINT pk_units PRIMARY KEY (id), 
	CONSTRAINT ck_units_priority CHECK (priority BETWEEN 0 AND 255), 
	CONSTRAINT fk_units_organization_id_organizations FOREIGN KEY(organization_id) REFERENCES organizations (id)
);
INSERT INTO "units" VALUES('019ca880-0000-7000-8000-000000000023',1,'巡逻一','019ca880-0000-7000-8000-000000000002',5,'2026-03-01 08:30:15.250000','2026-03-01 08:30:15.250000');
CREATE TABLE users (
	id CHAR(36) NOT NULL, 
	version INTEGER NOT NULL, 
	name VARCHAR(100) NOT NULL, 
	password_hash TEXT NOT NULL, 
	disabled BOOLEAN NOT NULL, 
	created_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, 
	CONSTRAINT pk_users PRIMARY KEY (id), 
	CONSTRAINT uq_users_name UNIQUE (name)
);
INSERT INTO "users" VALUES('019ca880-0000-7000-8000-00000000000b',1,'chief','$argon2id$x',0,'2026-03-01 08:30:15.250000','2026-03-01 08:30:15.250000');
INSERT INTO "users" VALUES('019ca880-0000-7000-8000-00000000000c',1,'值班','$argon2id$y',1,'2026-03-01 08:30:15.250000','2026-03-01 08:30:15.250000');
CREATE INDEX ix_changes_kind_object_id ON changes (kind, object_id);
CREATE INDEX ix_changes_organization_path_id ON changes (organization_path, id);
CREATE INDEX ix_jobs_state ON jobs (state);
CREATE INDEX ix_organizations_parent_id ON organizations (parent_id);
CREATE INDEX ix_organizations_west_deg_east_deg ON organizations (west_deg, east_deg);
CREATE INDEX ix_devices_endpoint_reference ON devices (endpoint_reference);
CREATE INDEX ix_devices_organization_id ON devices (organization_id);
CREATE INDEX ix_patches_organization_id ON patches (organization_id);
CREATE INDEX ix_roles_organization_id ON roles (organization_id);
CREATE INDEX ix_sessions_expires_at ON sessions (expires_at);
CREATE INDEX ix_sessions_user_id ON sessions (user_id);
CREATE INDEX ix_systems_organization_id ON systems (organization_id);
CREATE INDEX ix_units_organization_id ON units (organization_id);
CREATE INDEX ix_channels_organization_id ON channels (organization_id);
CREATE INDEX ix_points_home_id ON points (home_id);
CREATE INDEX ix_points_host_channel_number ON points (host, channel_number);
CREATE INDEX ix_points_latitude_longitude ON points (latitude, longitude);
CREATE INDEX ix_points_organization_id_id ON points (organization_id, id);
CREATE INDEX ix_points_organization_id_status_assigned_by ON points (organization_id, status, assigned_by);
CREATE INDEX ix_unit_addresses_unit_id ON unit_addresses (unit_id);
CREATE INDEX ix_patch_members_channel_id ON patch_members (channel_id);
COMMIT;
