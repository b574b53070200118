SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
SET default_tablespace = '';
CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.changes (
    id uuid NOT NULL,
    at timestamp with time zone NOT NULL,
    user_id character varying(36) NOT NULL,
    user_name character varying(100) NOT NULL,
    action character varying(32) NOT NULL,
    kind character varying(32) NOT NULL,
    object_id character varying(36) NOT NULL,
    organization_path text NOT NULL COLLATE pg_catalog."C",
    details jsonb NOT NULL
);
CREATE TABLE public.channels (
    id uuid NOT NULL,
    version integer NOT NULL,
    system_id uuid NOT NULL,
    address character varying(200) NOT NULL,
    name character varying(200) NOT NULL,
    organization_id uuid NOT NULL,
    kind character varying(8) NOT NULL,
    priority integer NOT NULL,
    gateway_unit_id character varying(64) NOT NULL,
    hold_s double precision,
    echo_s double precision,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT ck_channels_kind CHECK (((kind)::text = ANY ((ARRAY['trunk'::character varying, 'ptt'::character varying])::text[]))),
    CONSTRAINT ck_channels_priority CHECK (((priority >= 0) AND (priority <= 255)))
);
CREATE TABLE public.devices (
    id uuid NOT NULL,
    version integer NOT NULL,
    adapter character varying(64) NOT NULL,
    endpoint character varying(500) NOT NULL,
    name character varying(200) NOT NULL,
    organization_id uuid NOT NULL,
    username character varying(200) NOT NULL,
    secret bytea,
    settings jsonb NOT NULL,
    manufacturer character varying(200) NOT NULL,
    model character varying(200) NOT NULL,
    serial character varying(200) NOT NULL,
    firmware character varying(200) NOT NULL,
    endpoint_reference character varying(200) NOT NULL,
    clock_offset_s double precision,
    status character varying(8) NOT NULL,
    status_since timestamp with time zone NOT NULL,
    last_error text NOT NULL,
    sources jsonb NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT ck_devices_status CHECK (((status)::text = ANY ((ARRAY['online'::character varying, 'offline'::character varying, 'fault'::character varying, 'unknown'::character varying])::text[])))
);
CREATE TABLE public.jobs (
    id uuid NOT NULL,
    kind character varying(64) NOT NULL,
    state character varying(16) NOT NULL,
    done integer NOT NULL,
    total integer NOT NULL,
    report jsonb NOT NULL,
    user_id character varying(36) NOT NULL,
    idempotency_key character varying(200),
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT ck_jobs_state CHECK (((state)::text = ANY ((ARRAY['queued'::character varying, 'running'::character varying, 'done'::character varying, 'failed'::character varying, 'cancelled'::character varying])::text[])))
);
CREATE TABLE public.organizations (
    id uuid NOT NULL,
    version integer NOT NULL,
    kind character varying(16) NOT NULL,
    name character varying(200) NOT NULL,
    slug character varying(63) NOT NULL,
    path text NOT NULL COLLATE pg_catalog."C",
    depth integer NOT NULL,
    parent_id uuid,
    code character varying(12),
    region character varying(12),
    jurisdiction jsonb,
    area_m2 bigint,
    west_deg double precision,
    south_deg double precision,
    east_deg double precision,
    north_deg double precision,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT ck_organizations_kind CHECK (((kind)::text = ANY ((ARRAY['district'::character varying, 'station'::character varying, 'workroom'::character varying])::text[]))),
    CONSTRAINT ck_organizations_root_is_district CHECK ((((kind)::text = 'district'::text) OR (parent_id IS NOT NULL)))
);
CREATE TABLE public.patch_members (
    patch_id uuid NOT NULL,
    channel_id uuid NOT NULL,
    "position" integer NOT NULL,
    direction character varying(8) NOT NULL,
    priority integer NOT NULL,
    CONSTRAINT ck_patch_members_direction CHECK (((direction)::text = ANY ((ARRAY['both'::character varying, 'talk'::character varying, 'listen'::character varying])::text[]))),
    CONSTRAINT ck_patch_members_priority CHECK (((priority >= 0) AND (priority <= 255)))
);
CREATE TABLE public.patches (
    id uuid NOT NULL,
    version integer NOT NULL,
    name character varying(200) NOT NULL,
    organization_id uuid NOT NULL,
    enabled boolean NOT NULL,
    hang_s double precision NOT NULL,
    max_talk_s double precision NOT NULL,
    queue boolean NOT NULL,
    until timestamp with time zone,
    schedule jsonb,
    voice character varying(8) NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT ck_patches_times CHECK (((hang_s >= (0)::double precision) AND (max_talk_s > (0)::double precision))),
    CONSTRAINT ck_patches_voice CHECK (((voice)::text = ANY ((ARRAY['frames'::character varying, 'silence'::character varying, 'events'::character varying])::text[])))
);
CREATE TABLE public.points (
    id uuid NOT NULL,
    version integer NOT NULL,
    code character varying(20),
    name character varying(200) NOT NULL,
    place character varying(400) NOT NULL,
    organization_id uuid NOT NULL,
    home_id uuid NOT NULL,
    assigned_by character varying(8) NOT NULL,
    longitude double precision,
    latitude double precision,
    category smallint NOT NULL,
    ownership character varying(16) NOT NULL,
    device_id uuid,
    address character varying(200),
    host character varying(255),
    channel_number integer,
    profiles jsonb NOT NULL,
    capabilities jsonb NOT NULL,
    masked boolean NOT NULL,
    status character varying(8) NOT NULL,
    status_since timestamp with time zone NOT NULL,
    status_reason text NOT NULL,
    attributes jsonb NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT ck_points_assigned_by CHECK (((assigned_by)::text = ANY ((ARRAY['explicit'::character varying, 'polygon'::character varying, 'none'::character varying])::text[]))),
    CONSTRAINT ck_points_category CHECK ((category = ANY (ARRAY[1, 2, 3, 9]))),
    CONSTRAINT ck_points_ownership CHECK (((ownership)::text = ANY ((ARRAY['public_security'::character varying, 'community'::character varying, 'property'::character varying, 'enterprise'::character varying, 'other'::character varying])::text[]))),
    CONSTRAINT ck_points_position CHECK ((((longitude >= ('-180'::integer)::double precision) AND (longitude <= (180)::double precision)) AND ((latitude >= ('-90'::integer)::double precision) AND (latitude <= (90)::double precision)))),
    CONSTRAINT ck_points_position_is_whole CHECK (((longitude IS NULL) = (latitude IS NULL))),
    CONSTRAINT ck_points_source_is_whole CHECK (((device_id IS NULL) = (address IS NULL))),
    CONSTRAINT ck_points_status CHECK (((status)::text = ANY ((ARRAY['online'::character varying, 'offline'::character varying, 'fault'::character varying, 'unknown'::character varying])::text[])))
);
CREATE TABLE public.roles (
    user_id uuid NOT NULL,
    role character varying(16) NOT NULL,
    organization_id uuid NOT NULL,
    purpose text NOT NULL,
    ends_at timestamp with time zone,
    CONSTRAINT ck_roles_role CHECK (((role)::text = ANY ((ARRAY['viewer'::character varying, 'dispatcher'::character varying, 'integrator'::character varying, 'auditor'::character varying, 'clear_view'::character varying, 'admin'::character varying])::text[])))
);
CREATE TABLE public.sessions (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    token_hash bytea NOT NULL,
    signed_in_at timestamp with time zone NOT NULL,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL
);
CREATE TABLE public.systems (
    id uuid NOT NULL,
    version integer NOT NULL,
    adapter character varying(64) NOT NULL,
    name character varying(200) NOT NULL,
    organization_id uuid NOT NULL,
    settings jsonb NOT NULL,
    secrets bytea,
    enabled boolean NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL
);
CREATE TABLE public.unit_addresses (
    system_id uuid NOT NULL,
    address character varying(200) NOT NULL,
    unit_id uuid NOT NULL
);
CREATE TABLE public.units (
    id uuid NOT NULL,
    version integer NOT NULL,
    alias character varying(200) NOT NULL,
    organization_id uuid NOT NULL,
    priority integer NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT ck_units_priority CHECK (((priority >= 0) AND (priority <= 255)))
);
CREATE TABLE public.users (
    id uuid NOT NULL,
    version integer NOT NULL,
    name character varying(100) NOT NULL,
    password_hash text NOT NULL,
    disabled boolean NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL
);
INSERT INTO public.alembic_version VALUES
	('0001');
INSERT INTO public.changes VALUES
	('019ca880-0000-7000-8000-000000000047', '2026-03-01 08:30:15.25+00', '019ca880-0000-7000-8000-00000000000b', 'chief', 'update', 'point', '019ca880-0000-7000-8000-000000000029', 'shenhe/wanlian/room-07', '{"name": ["旧", "北门 North gate"]}');
INSERT INTO public.channels VALUES
	('019ca880-0000-7000-8000-000000000020', 1, '019ca880-0000-7000-8000-00000000001f', '1/3101', '一组', '019ca880-0000-7000-8000-000000000002', 'trunk', 3, '9990', 1.5, NULL, '2026-03-01 08:30:15.25+00', '2026-03-01 08:30:15.25+00'),
	('019ca880-0000-7000-8000-000000000021', 1, '019ca880-0000-7000-8000-00000000001f', '1/3102', '二组', '019ca880-0000-7000-8000-000000000002', 'trunk', 3, '9990', 1.5, NULL, '2026-03-01 08:30:15.25+00', '2026-03-01 08:30:15.25+00');
INSERT INTO public.devices VALUES
	('019ca880-0000-7000-8000-000000000015', 1, 'onvif', 'http://192.0.2.7/onvif/device_service', 'north', '019ca880-0000-7000-8000-000000000004', 'admin', '\x017365616c6564', '{"timeout_s": 5}', 'Example', 'IPC-1', 'S1', '1.2', 'urn:uuid:1', 1.5, 'online', '2026-03-01 08:30:15.25+00', '', '[{"name": "one", "address": "v1", "channel_number": null}]', '2026-03-01 08:30:15.25+00', '2026-03-01 08:30:15.25+00');
INSERT INTO public.jobs VALUES
	('019ca880-0000-7000-8000-00000000003d', 'import', 'done', 3, 3, '{"created": 3}', '019ca880-0000-7000-8000-00000000000b', 'k1', '2026-03-01 08:30:15.25+00', '2026-03-01 08:30:15.25+00');
INSERT INTO public.organizations VALUES
	('019ca880-0000-7000-8000-000000000001', 1, 'district', '沈河区', 'shenhe', 'shenhe', 1, NULL, NULL, '210103', NULL, NULL, NULL, NULL, NULL, NULL, '2026-03-01 08:30:15.25+00', '2026-03-01 08:30:15.25+00'),
	('019ca880-0000-7000-8000-000000000002', 1, 'station', '万莲派出所', 'wanlian', 'shenhe/wanlian', 2, '019ca880-0000-7000-8000-000000000001', '210103590000', NULL, NULL, NULL, NULL, NULL, NULL, NULL, '2026-03-01 08:30:15.25+00', '2026-03-01 08:30:15.25+00'),
	('019ca880-0000-7000-8000-000000000003', 1, 'station', '山东庙派出所', 'shandongmiao', 'shenhe/shandongmiao', 2, '019ca880-0000-7000-8000-000000000001', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '2026-03-01 08:30:15.25+00', '2026-03-01 08:30:15.25+00'),
	('019ca880-0000-7000-8000-000000000004', 1, 'workroom', '七室', 'room-07', 'shenhe/wanlian/room-07', 3, '019ca880-0000-7000-8000-000000000002', NULL, NULL, '{"type": "Polygon", "coordinates": [[[123.4, 41.8], [123.5, 41.8], [123.5, 41.9], [123.4, 41.9], [123.4, 41.8]]]}', 92085120, 123.4, 41.8, 123.5, 41.9, '2026-03-01 08:30:15.25+00', '2026-03-01 08:30:15.25+00');
INSERT INTO public.patch_members VALUES
	('019ca880-0000-7000-8000-000000000022', '019ca880-0000-7000-8000-000000000020', 0, 'both', 0),
	('019ca880-0000-7000-8000-000000000022', '019ca880-0000-7000-8000-000000000021', 1, 'both', 0);
INSERT INTO public.patches VALUES
	('019ca880-0000-7000-8000-000000000022', 1, 'joined', '019ca880-0000-7000-8000-000000000002', true, 2, 60, false, NULL, '{"to": "20:00", "days": [1, 2, 3], "from": "08:00"}', 'silence', '2026-03-01 08:30:15.25+00', '2026-03-01 08:30:15.25+00');
INSERT INTO public.points VALUES
	('019ca880-0000-7000-8000-000000000029', 1, '21010300001320000001', '北门 North gate', '万莲路 7 号', '019ca880-0000-7000-8000-000000000004', '019ca880-0000-7000-8000-000000000001', 'polygon', 123.45, 41.85, 1, 'public_security', '019ca880-0000-7000-8000-000000000015', 'v1', NULL, NULL, '[{"name": "main", "codec": "h264", "width": 1920, "height": 1080}]', '["ptz"]', false, 'online', '2026-03-01 08:30:15.25+00', '', '{"mac": "00:11:22:33:44:55"}', '2026-03-01 08:30:15.25+00', '2026-03-01 08:30:15.25+00'),
	('019ca880-0000-7000-8000-00000000002a', 1, NULL, '街角', '万莲路 7 号', '019ca880-0000-7000-8000-000000000002', '019ca880-0000-7000-8000-000000000001', 'explicit', NULL, NULL, 1, 'public_security', NULL, NULL, '192.0.2.7', 3, '[]', '[]', false, 'unknown', '2026-03-01 08:30:15.25+00', '', '{}', '2026-03-01 08:30:15.25+00', '2026-03-01 08:30:15.25+00'),
	('019ca880-0000-7000-8000-00000000002b', 1, NULL, '大院', '万莲路 7 号', '019ca880-0000-7000-8000-000000000001', '019ca880-0000-7000-8000-000000000001', 'none', 123.9, 41.2, 1, 'public_security', NULL, NULL, NULL, NULL, '[]', '[]', true, 'unknown', '2026-03-01 08:30:15.25+00', '', '{}', '2026-03-01 08:30:15.25+00', '2026-03-01 08:30:15.25+00');
INSERT INTO public.roles VALUES
	('019ca880-0000-7000-8000-00000000000b', 'admin', '019ca880-0000-7000-8000-000000000001', '', NULL),
	('019ca880-0000-7000-8000-00000000000c', 'clear_view', '019ca880-0000-7000-8000-000000000002', 'case 7', '2026-03-02 08:30:15.25+00');
INSERT INTO public.sessions VALUES
	('019ca880-0000-7000-8000-00000000000d', '019ca880-0000-7000-8000-00000000000b', '\x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f', '2026-03-01 08:30:15.25+00', '2026-03-01 08:30:15.25+00', '2026-03-01 20:30:15.25+00');
INSERT INTO public.systems VALUES
	('019ca880-0000-7000-8000-00000000001f', 1, 'homebrew', 'trunk', '019ca880-0000-7000-8000-000000000002', '{"port": 62031}', '\x017365616c6564', true, '2026-03-01 08:30:15.25+00', '2026-03-01 08:30:15.25+00');
INSERT INTO public.unit_addresses VALUES
	('019ca880-0000-7000-8000-00000000001f', '3101001', '019ca880-0000-7000-8000-000000000023');
INSERT INTO public.units VALUES
	('019ca880-0000-7000-8000-000000000023', 1, '巡逻一', '019ca880-0000-7000-8000-000000000002', 5, '2026-03-01 08:30:15.25+00', '2026-03-01 08:30:15.25+00');
INSERT INTO public.users VALUES
	('019ca880-0000-7000-8000-00000000000b', 1, 'chief', '$argon2id$x', false, '2026-03-01 08:30:15.25+00', '2026-03-01 08:30:15.25+00'),
	('019ca880-0000-7000-8000-00000000000c', 1, '值班', '$argon2id$y', true, '2026-03-01 08:30:15.25+00', '2026-03-01 08:30:15.25+00');
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.changes
    ADD CONSTRAINT pk_changes PRIMARY KEY (id);
ALTER TABLE ONLY public.channels
    ADD CONSTRAINT pk_channels PRIMARY KEY (id);
ALTER TABLE ONLY public.devices
    ADD CONSTRAINT pk_devices PRIMARY KEY (id);
ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT pk_jobs PRIMARY KEY (id);
ALTER TABLE ONLY public.organizations
    ADD CONSTRAINT pk_organizations PRIMARY KEY (id);
ALTER TABLE ONLY public.patch_members
    ADD CONSTRAINT pk_patch_members PRIMARY KEY (patch_id, channel_id);
ALTER TABLE ONLY public.patches
    ADD CONSTRAINT pk_patches PRIMARY KEY (id);
ALTER TABLE ONLY public.points
    ADD CONSTRAINT pk_points PRIMARY KEY (id);
ALTER TABLE ONLY public.roles
    ADD CONSTRAINT pk_roles PRIMARY KEY (user_id, role, organization_id);
ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT pk_sessions PRIMARY KEY (id);
ALTER TABLE ONLY public.systems
    ADD CONSTRAINT pk_systems PRIMARY KEY (id);
ALTER TABLE ONLY public.unit_addresses
    ADD CONSTRAINT pk_unit_addresses PRIMARY KEY (system_id, address);
ALTER TABLE ONLY public.units
    ADD CONSTRAINT pk_units PRIMARY KEY (id);
ALTER TABLE ONLY public.users
    ADD CONSTRAINT pk_users PRIMARY KEY (id);
ALTER TABLE ONLY public.channels
    ADD CONSTRAINT uq_channels_system_id_address UNIQUE (system_id, address);
ALTER TABLE ONLY public.devices
    ADD CONSTRAINT uq_devices_organization_id_adapter_endpoint UNIQUE (organization_id, adapter, endpoint);
ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT uq_jobs_user_id_kind_idempotency_key UNIQUE (user_id, kind, idempotency_key);
ALTER TABLE ONLY public.organizations
    ADD CONSTRAINT uq_organizations_code UNIQUE (code);
ALTER TABLE ONLY public.organizations
    ADD CONSTRAINT uq_organizations_path UNIQUE (path);
ALTER TABLE ONLY public.points
    ADD CONSTRAINT uq_points_code UNIQUE (code);
ALTER TABLE ONLY public.points
    ADD CONSTRAINT uq_points_device_id_address UNIQUE (device_id, address);
ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT uq_sessions_token_hash UNIQUE (token_hash);
ALTER TABLE ONLY public.systems
    ADD CONSTRAINT uq_systems_organization_id_name UNIQUE (organization_id, name);
ALTER TABLE ONLY public.users
    ADD CONSTRAINT uq_users_name UNIQUE (name);
CREATE INDEX ix_changes_kind_object_id ON public.changes USING btree (kind, object_id);
CREATE INDEX ix_changes_organization_path_id ON public.changes USING btree (organization_path, id);
CREATE INDEX ix_channels_organization_id ON public.channels USING btree (organization_id);
CREATE INDEX ix_devices_endpoint_reference ON public.devices USING btree (endpoint_reference);
CREATE INDEX ix_devices_organization_id ON public.devices USING btree (organization_id);
CREATE INDEX ix_jobs_state ON public.jobs USING btree (state);
CREATE INDEX ix_organizations_parent_id ON public.organizations USING btree (parent_id);
CREATE INDEX ix_organizations_west_deg_east_deg ON public.organizations USING btree (west_deg, east_deg);
CREATE INDEX ix_patch_members_channel_id ON public.patch_members USING btree (channel_id);
CREATE INDEX ix_patches_organization_id ON public.patches USING btree (organization_id);
CREATE INDEX ix_points_home_id ON public.points USING btree (home_id);
CREATE INDEX ix_points_host_channel_number ON public.points USING btree (host, channel_number);
CREATE INDEX ix_points_latitude_longitude ON public.points USING btree (latitude, longitude);
CREATE INDEX ix_points_organization_id_id ON public.points USING btree (organization_id, id);
CREATE INDEX ix_points_organization_id_status_assigned_by ON public.points USING btree (organization_id, status, assigned_by);
CREATE INDEX ix_roles_organization_id ON public.roles USING btree (organization_id);
CREATE INDEX ix_sessions_expires_at ON public.sessions USING btree (expires_at);
CREATE INDEX ix_sessions_user_id ON public.sessions USING btree (user_id);
CREATE INDEX ix_systems_organization_id ON public.systems USING btree (organization_id);
CREATE INDEX ix_unit_addresses_unit_id ON public.unit_addresses USING btree (unit_id);
CREATE INDEX ix_units_organization_id ON public.units USING btree (organization_id);
ALTER TABLE ONLY public.channels
    ADD CONSTRAINT fk_channels_organization_id_organizations FOREIGN KEY (organization_id) REFERENCES public.organizations(id);
ALTER TABLE ONLY public.channels
    ADD CONSTRAINT fk_channels_system_id_systems FOREIGN KEY (system_id) REFERENCES public.systems(id);
ALTER TABLE ONLY public.devices
    ADD CONSTRAINT fk_devices_organization_id_organizations FOREIGN KEY (organization_id) REFERENCES public.organizations(id);
ALTER TABLE ONLY public.organizations
    ADD CONSTRAINT fk_organizations_parent_id_organizations FOREIGN KEY (parent_id) REFERENCES public.organizations(id);
ALTER TABLE ONLY public.patch_members
    ADD CONSTRAINT fk_patch_members_channel_id_channels FOREIGN KEY (channel_id) REFERENCES public.channels(id);
ALTER TABLE ONLY public.patch_members
    ADD CONSTRAINT fk_patch_members_patch_id_patches FOREIGN KEY (patch_id) REFERENCES public.patches(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.patches
    ADD CONSTRAINT fk_patches_organization_id_organizations FOREIGN KEY (organization_id) REFERENCES public.organizations(id);
ALTER TABLE ONLY public.points
    ADD CONSTRAINT fk_points_device_id_devices FOREIGN KEY (device_id) REFERENCES public.devices(id);
ALTER TABLE ONLY public.points
    ADD CONSTRAINT fk_points_home_id_organizations FOREIGN KEY (home_id) REFERENCES public.organizations(id);
ALTER TABLE ONLY public.points
    ADD CONSTRAINT fk_points_organization_id_organizations FOREIGN KEY (organization_id) REFERENCES public.organizations(id);
ALTER TABLE ONLY public.roles
    ADD CONSTRAINT fk_roles_organization_id_organizations FOREIGN KEY (organization_id) REFERENCES public.organizations(id);
ALTER TABLE ONLY public.roles
    ADD CONSTRAINT fk_roles_user_id_users FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT fk_sessions_user_id_users FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.systems
    ADD CONSTRAINT fk_systems_organization_id_organizations FOREIGN KEY (organization_id) REFERENCES public.organizations(id);
ALTER TABLE ONLY public.unit_addresses
    ADD CONSTRAINT fk_unit_addresses_system_id_systems FOREIGN KEY (system_id) REFERENCES public.systems(id);
ALTER TABLE ONLY public.unit_addresses
    ADD CONSTRAINT fk_unit_addresses_unit_id_units FOREIGN KEY (unit_id) REFERENCES public.units(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.units
    ADD CONSTRAINT fk_units_organization_id_organizations FOREIGN KEY (organization_id) REFERENCES public.organizations(id);
