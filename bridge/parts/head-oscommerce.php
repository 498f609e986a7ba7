<?php
/*
 * Onhand bridge for osCommerce 2.3, CE Phoenix and Zen Cart.
 *
 * Upload this one file into the folder of your shop, beside its index.php, and open it in a browser: it says what to do
 * next. How to set it up, step by step: docs/carts/oscommerce.md of Onhand.
 */
$onhand_settings = array(
    // The secret that Onhand signs its requests with: whsec_ and some letters. Open this file in a browser to get one.
    'secret' => '',

    // Only for Stone Edge Order Manager, or anything else that speaks its protocol (SETI). Empty: SETI is off.
    'seti_user' => '',
    'seti_password' => '',
    'seti_code' => '',

    // Requests must come over https. Set to true only for a shop without https that you try things with.
    'allow_http' => false,
    // Set to true where https ends at a proxy in front of the shop, and that proxy sets X-Forwarded-Proto itself.
    'trust_forwarded_proto' => false,

    // The shop's own settings are read from includes/configure.php. Fill these in only where that does not work.
    'db_host' => '',
    'db_user' => '',
    'db_password' => '',
    'db_name' => '',
    'table_prefix' => '',
    // What this file talks to the database in. A shop that was moved from an old server may need 'latin1'.
    'db_charset' => 'utf8mb4',
    // The time zone the shop writes its orders in, as +01:00. Empty: the database's own.
    'time_zone' => '',

    // Numbers of the order statuses that mean "cancelled" and "shipped". Empty: by their names.
    'cancelled_statuses' => array(),
    'shipped_statuses' => array(),
    // Orders older than this many days are not looked at any more.
    'watch_days' => 60,

    // To remove the bridge: set to true, open this file in a browser, then delete it.
    'uninstall' => false,
);
/* End of the settings. Nothing below has to be changed. */
