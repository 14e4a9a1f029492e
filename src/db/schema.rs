// @generated automatically by Diesel CLI.

pub mod sql_types {
    #[derive(diesel::query_builder::QueryId, Clone, diesel::sql_types::SqlType)]
    #[diesel(postgres_type(name = "account_role"))]
    pub struct AccountRole;

    #[derive(diesel::query_builder::QueryId, Clone, diesel::sql_types::SqlType)]
    #[diesel(postgres_type(name = "comment_visibility"))]
    pub struct CommentVisibility;

    #[derive(diesel::query_builder::QueryId, Clone, diesel::sql_types::SqlType)]
    #[diesel(postgres_type(name = "delivery_state"))]
    pub struct DeliveryState;

    #[derive(diesel::query_builder::QueryId, Clone, diesel::sql_types::SqlType)]
    #[diesel(postgres_type(name = "event_audience"))]
    pub struct EventAudience;

    #[derive(diesel::query_builder::QueryId, Clone, diesel::sql_types::SqlType)]
    #[diesel(postgres_type(name = "locale"))]
    pub struct Locale;

    #[derive(diesel::query_builder::QueryId, Clone, diesel::sql_types::SqlType)]
    #[diesel(postgres_type(name = "notification_kind"))]
    pub struct NotificationKind;

    #[derive(diesel::query_builder::QueryId, Clone, diesel::sql_types::SqlType)]
    #[diesel(postgres_type(name = "second_factor_method"))]
    pub struct SecondFactorMethod;

    #[derive(diesel::query_builder::QueryId, Clone, diesel::sql_types::SqlType)]
    #[diesel(postgres_type(name = "ticket_priority"))]
    pub struct TicketPriority;

    #[derive(diesel::query_builder::QueryId, Clone, diesel::sql_types::SqlType)]
    #[diesel(postgres_type(name = "ticket_status"))]
    pub struct TicketStatus;

    #[derive(diesel::query_builder::QueryId, Clone, diesel::sql_types::SqlType)]
    #[diesel(postgres_type(name = "tsvector", schema = "pg_catalog"))]
    pub struct Tsvector;
}

diesel::table! {
    account_changes (only_row) {
        only_row -> Bool,
        number -> Int8,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::sql_types::AccountRole;
    use super::sql_types::Locale;

    accounts (id) {
        id -> Uuid,
        email -> Text,
        name -> Text,
        role -> AccountRole,
        locale -> Locale,
        password_hash -> Nullable<Text>,
        disabled_at -> Nullable<Timestamptz>,
        event_seq -> Int8,
        created_at -> Timestamptz,
        session_generation -> Int4,
        external_id -> Nullable<Text>,
        imported_hash -> Nullable<Bytea>,
    }
}

diesel::table! {
    attachments (id) {
        id -> Uuid,
        uploader_id -> Uuid,
        name -> Text,
        size -> Nullable<Int8>,
        content_type -> Nullable<Text>,
        sha256 -> Nullable<Bytea>,
        ticket_id -> Nullable<Uuid>,
        comment_id -> Nullable<Uuid>,
        position -> Int2,
        condemned_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        is_kept -> Bool,
    }
}

diesel::table! {
    attempts (bucket) {
        bucket -> Bytea,
        empty_at -> Timestamptz,
    }
}

diesel::table! {
    authenticator_enrolments (account_id) {
        account_id -> Uuid,
        secret -> Bytea,
        expires_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::sql_types::Locale;

    canned_answers (id) {
        id -> Uuid,
        account_id -> Nullable<Uuid>,
        title -> Text,
        body -> Text,
        category_id -> Nullable<Uuid>,
        locale -> Nullable<Locale>,
        position -> Int4,
        retired_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    categories (id) {
        id -> Uuid,
        slug -> Text,
        name_en -> Text,
        name_ru -> Text,
        position -> Int4,
        retired_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    comment_edits (comment_id, number) {
        comment_id -> Uuid,
        number -> Int2,
        body -> Text,
        replaced_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::sql_types::CommentVisibility;

    comments (id) {
        id -> Uuid,
        ticket_id -> Uuid,
        author_id -> Uuid,
        visibility -> CommentVisibility,
        body -> Text,
        created_at -> Timestamptz,
        edited_at -> Nullable<Timestamptz>,
        redacted_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    consumer_offsets (name) {
        name -> Text,
        pos -> Int8,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::sql_types::Locale;
    use super::sql_types::DeliveryState;

    deliveries (id) {
        id -> Uuid,
        seq -> Int8,
        address -> Text,
        account_id -> Nullable<Uuid>,
        ticket_id -> Nullable<Uuid>,
        locale -> Locale,
        priority -> Bool,
        state -> DeliveryState,
        attempts -> Int4,
        due_at -> Timestamptz,
        joinable_until -> Nullable<Timestamptz>,
        expires_at -> Nullable<Timestamptz>,
        payload -> Nullable<Bytea>,
        last_error -> Nullable<Text>,
        created_at -> Timestamptz,
        finished_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::sql_types::NotificationKind;

    delivery_events (event_id, address) {
        event_id -> Int8,
        address -> Text,
        delivery_id -> Uuid,
        kind -> NotificationKind,
    }
}

diesel::table! {
    erasures (account_id) {
        account_id -> Uuid,
        actor_id -> Nullable<Uuid>,
        erased_at -> Timestamptz,
        redacts -> Bool,
        finished_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::sql_types::EventAudience;
    use super::sql_types::TicketStatus;
    use super::sql_types::TicketPriority;

    events (id) {
        id -> Int8,
        ticket_id -> Nullable<Uuid>,
        account_id -> Nullable<Uuid>,
        seq -> Int8,
        kind -> Text,
        audience -> EventAudience,
        actor_id -> Nullable<Uuid>,
        data -> Jsonb,
        occurred_at -> Timestamptz,
        category_id -> Nullable<Uuid>,
        status -> Nullable<TicketStatus>,
        priority -> Nullable<TicketPriority>,
        assignee_id -> Nullable<Uuid>,
        participant_ids -> Array<Nullable<Uuid>>,
    }
}

diesel::table! {
    feed (pos) {
        pos -> Int8,
        event_id -> Int8,
        ticket_id -> Nullable<Uuid>,
        mark -> Nullable<Int8>,
    }
}

diesel::table! {
    feed_epochs (epoch) {
        epoch -> Int4,
        tag -> Int4,
        start_pos -> Int8,
        system_identifier -> Int8,
        timeline -> Int4,
        opened_at -> Timestamptz,
        storage -> Nullable<Text>,
    }
}

diesel::table! {
    feed_head (one) {
        one -> Bool,
        pos -> Int8,
    }
}

diesel::table! {
    former_staff (account_id) {
        account_id -> Uuid,
        actor_id -> Nullable<Uuid>,
        since -> Timestamptz,
    }
}

diesel::table! {
    handoffs (id) {
        id -> Uuid,
        token_hash -> Bytea,
        account_id -> Uuid,
        created_at -> Timestamptz,
        expires_at -> Timestamptz,
        used_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    idempotency_keys (account_id, key) {
        account_id -> Uuid,
        key -> Text,
        fingerprint -> Bytea,
        result_id -> Uuid,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::sql_types::Locale;

    installation (only_row) {
        only_row -> Bool,
        mail_enabled -> Nullable<Bool>,
        mail_window_seconds -> Int4,
        mail_staff_addresses -> Text,
        mail_staff_locale -> Locale,
        last_backup_at -> Nullable<Timestamptz>,
        storage_id -> Nullable<Uuid>,
    }
}

diesel::table! {
    mail_preferences (account_id) {
        account_id -> Uuid,
        ticket_created -> Bool,
        support_answered -> Bool,
        status_changed -> Bool,
        ticket_closed -> Bool,
    }
}

diesel::table! {
    mail_unsubscriptions (ticket_id, address) {
        ticket_id -> Uuid,
        address -> Text,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    mailed_codes (holder_id) {
        holder_id -> Uuid,
        account_id -> Uuid,
        code_hash -> Bytea,
        tries_left -> Int4,
        sent_at -> Timestamptz,
        expires_at -> Timestamptz,
    }
}

diesel::table! {
    merge_invitations (invitation_id, ticket_id) {
        invitation_id -> Uuid,
        ticket_id -> Uuid,
        is_requested -> Bool,
    }
}

diesel::table! {
    nodes (id) {
        id -> Uuid,
        version -> Text,
        host -> Text,
        started_at -> Timestamptz,
        seen_at -> Timestamptz,
        report -> Jsonb,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::sql_types::NotificationKind;

    notifications (id) {
        id -> Uuid,
        account_id -> Uuid,
        event_id -> Int8,
        ticket_id -> Uuid,
        kind -> NotificationKind,
        pos -> Int8,
        created_at -> Timestamptz,
        read_at -> Nullable<Timestamptz>,
        late_pos -> Nullable<Int8>,
    }
}

diesel::table! {
    password_resets (token_hash) {
        token_hash -> Bytea,
        email -> Text,
        expires_at -> Timestamptz,
        used_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    pending_events (event_id) {
        event_id -> Int8,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::sql_types::TicketStatus;
    use super::sql_types::TicketPriority;

    queue_entries (ticket_id) {
        ticket_id -> Uuid,
        category_id -> Uuid,
        assignee_id -> Nullable<Uuid>,
        status -> TicketStatus,
        priority -> TicketPriority,
        updated_at -> Timestamptz,
        waiting_since -> Nullable<Timestamptz>,
        resolved_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    recovery_codes (account_id, code_hash) {
        account_id -> Uuid,
        code_hash -> Bytea,
        used_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    redacted_attachments (id) {
        id -> Uuid,
        ticket_id -> Uuid,
        comment_id -> Nullable<Uuid>,
        redacted_at -> Timestamptz,
    }
}

diesel::table! {
    redactions (name) {
        name -> Text,
        ticket_id -> Uuid,
        content -> Jsonb,
        redacted_at -> Timestamptz,
    }
}

diesel::table! {
    saved_views (id) {
        id -> Uuid,
        account_id -> Nullable<Uuid>,
        name -> Text,
        filter -> Jsonb,
        sort -> Text,
        descending -> Bool,
        position -> Int4,
        retired_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::sql_types::CommentVisibility;
    use super::sql_types::Tsvector;

    search_documents (id) {
        id -> Uuid,
        ticket_id -> Uuid,
        visibility -> CommentVisibility,
        summary -> Nullable<Text>,
        words -> Tsvector,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::sql_types::SecondFactorMethod;

    second_factors (account_id, method) {
        account_id -> Uuid,
        method -> SecondFactorMethod,
        secret -> Nullable<Bytea>,
        last_step -> Nullable<Int8>,
        configured_at -> Timestamptz,
        last_used_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    sealing_keys (id) {
        id -> Bytea,
        first_used_at -> Timestamptz,
    }
}

diesel::table! {
    service_tokens (id) {
        id -> Uuid,
        name -> Text,
        token_hash -> Bytea,
        provision_customers -> Bool,
        create_handoffs -> Bool,
        created_at -> Timestamptz,
        created_by -> Nullable<Uuid>,
        last_used_at -> Nullable<Timestamptz>,
        revoked_at -> Nullable<Timestamptz>,
        revoked_by -> Nullable<Uuid>,
        expires_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    sessions (id) {
        id -> Uuid,
        account_id -> Uuid,
        token_hash -> Bytea,
        created_at -> Timestamptz,
        expires_at -> Timestamptz,
        revoked_at -> Nullable<Timestamptz>,
        last_used_at -> Timestamptz,
        address -> Nullable<Text>,
        device -> Nullable<Text>,
        confined -> Bool,
        reauthenticated_at -> Nullable<Timestamptz>,
        network -> Nullable<Text>,
    }
}

diesel::table! {
    set_aside_events (id) {
        id -> Uuid,
        consumer -> Text,
        event_id -> Int8,
        pos -> Int8,
        error -> Text,
        attempts -> Int4,
        set_aside_at -> Timestamptz,
        attempted_at -> Timestamptz,
        retry_requested_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    sign_in_challenges (id) {
        id -> Uuid,
        account_id -> Uuid,
        token_hash -> Bytea,
        session_generation -> Int4,
        tries_left -> Int4,
        expires_at -> Timestamptz,
        finished_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    ticket_invitations (id) {
        id -> Uuid,
        ticket_id -> Uuid,
        email -> Text,
        invited_by -> Uuid,
        created_at -> Timestamptz,
        expires_at -> Timestamptz,
        declined_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::sql_types::TicketStatus;

    ticket_merges (ticket_id) {
        ticket_id -> Uuid,
        into_id -> Uuid,
        merged_at -> Timestamptz,
        status -> TicketStatus,
        waiting_since -> Nullable<Timestamptz>,
        resolved_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    ticket_reads (account_id, ticket_id) {
        account_id -> Uuid,
        ticket_id -> Uuid,
        seq -> Int8,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::sql_types::TicketStatus;
    use super::sql_types::TicketPriority;

    tickets (id) {
        id -> Uuid,
        number -> Int8,
        category_id -> Uuid,
        reporter_id -> Uuid,
        assignee_id -> Nullable<Uuid>,
        summary -> Text,
        description -> Text,
        status -> TicketStatus,
        priority -> TicketPriority,
        version -> Int4,
        event_seq -> Int8,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        participant_ids -> Array<Nullable<Uuid>>,
        past_participant_ids -> Array<Nullable<Uuid>>,
        waiting_since -> Nullable<Timestamptz>,
        resolved_at -> Nullable<Timestamptz>,
        follow_up_to_id -> Nullable<Uuid>,
        public_seq -> Int8,
        public_actor_id -> Nullable<Uuid>,
        public_seq_by_others -> Int8,
        any_seq -> Int8,
        any_actor_id -> Nullable<Uuid>,
        any_seq_by_others -> Int8,
        last_comment_id -> Nullable<Uuid>,
        last_public_comment_id -> Nullable<Uuid>,
        last_comments_seq -> Nullable<Int8>,
    }
}

diesel::joinable!(attachments -> accounts (uploader_id));
diesel::joinable!(attachments -> comments (comment_id));
diesel::joinable!(attachments -> tickets (ticket_id));
diesel::joinable!(authenticator_enrolments -> accounts (account_id));
diesel::joinable!(canned_answers -> accounts (account_id));
diesel::joinable!(canned_answers -> categories (category_id));
diesel::joinable!(comment_edits -> comments (comment_id));
diesel::joinable!(comments -> accounts (author_id));
diesel::joinable!(comments -> tickets (ticket_id));
diesel::joinable!(deliveries -> accounts (account_id));
diesel::joinable!(deliveries -> tickets (ticket_id));
diesel::joinable!(delivery_events -> deliveries (delivery_id));
diesel::joinable!(delivery_events -> events (event_id));
diesel::joinable!(events -> tickets (ticket_id));
diesel::joinable!(feed -> events (event_id));
diesel::joinable!(handoffs -> accounts (account_id));
diesel::joinable!(idempotency_keys -> accounts (account_id));
diesel::joinable!(mail_preferences -> accounts (account_id));
diesel::joinable!(mail_unsubscriptions -> tickets (ticket_id));
diesel::joinable!(mailed_codes -> accounts (account_id));
diesel::joinable!(merge_invitations -> ticket_invitations (invitation_id));
diesel::joinable!(merge_invitations -> tickets (ticket_id));
diesel::joinable!(notifications -> accounts (account_id));
diesel::joinable!(notifications -> events (event_id));
diesel::joinable!(notifications -> tickets (ticket_id));
diesel::joinable!(recovery_codes -> accounts (account_id));
diesel::joinable!(redacted_attachments -> comments (comment_id));
diesel::joinable!(redacted_attachments -> tickets (ticket_id));
diesel::joinable!(saved_views -> accounts (account_id));
diesel::joinable!(second_factors -> accounts (account_id));
diesel::joinable!(sessions -> accounts (account_id));
diesel::joinable!(sign_in_challenges -> accounts (account_id));
diesel::joinable!(ticket_invitations -> accounts (invited_by));
diesel::joinable!(ticket_invitations -> tickets (ticket_id));
diesel::joinable!(ticket_reads -> accounts (account_id));
diesel::joinable!(ticket_reads -> tickets (ticket_id));
diesel::joinable!(tickets -> categories (category_id));

diesel::allow_tables_to_appear_in_same_query!(
    account_changes,
    accounts,
    attachments,
    attempts,
    authenticator_enrolments,
    canned_answers,
    categories,
    comment_edits,
    comments,
    consumer_offsets,
    deliveries,
    delivery_events,
    erasures,
    events,
    feed,
    feed_epochs,
    feed_head,
    handoffs,
    idempotency_keys,
    installation,
    mail_preferences,
    mail_unsubscriptions,
    mailed_codes,
    merge_invitations,
    nodes,
    notifications,
    password_resets,
    pending_events,
    queue_entries,
    recovery_codes,
    redacted_attachments,
    redactions,
    saved_views,
    search_documents,
    second_factors,
    service_tokens,
    sessions,
    set_aside_events,
    sign_in_challenges,
    ticket_invitations,
    ticket_merges,
    ticket_reads,
    tickets,
);
